"""Help and refusals answer at once: they load no torch, no simulator, no video library."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "mujoco", "av", "cv2", "pyarrow", "scipy", "matplotlib", "gymnasium")
PROBE = """
import sys
from armillary.cli.main import main
code = main({arguments!r})
heavy = [name for name in {heavy!r} if name in sys.modules]
print("heavy:", heavy, "code:", code, file=sys.stderr)
"""


def run(arguments: list[str]) -> tuple[str, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = PROBE.format(arguments=arguments, heavy=HEAVY)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return result.stderr, seconds


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["record", "--help"], ["bench", "--help"], ["train", "--help"], ["--version"]],
)
def test_help_loads_nothing_heavy_and_is_fast(arguments: list[str]) -> None:
    said, cpu_seconds = run(arguments)
    assert said.strip() == "heavy: [] code: 0"
    # 0.3 s of processor time on two cores; four times that is still "at once".
    assert cpu_seconds < 1.2


@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest", "nothere", "--out", "x"],
        ["data", "show", "nothere"],
        ["view", "nothere"],
        ["probe", "m", "nothere"],
        ["policy", "m", "nothere"],
        ["proof", "index", "nothere"],
        ["train", "tabeltop"],
        ["launch", "slurm", "--time", "9", "--nodes", "0", "--", "train", "world"],
        ["mcp", "nothere", "--data", "nothere"],
        ["recrod"],
        ["record", "tabletop", "--seed", "-1", "--out", "x"],
    ],
    ids=" ".join,
)
def test_a_refusal_loads_nothing_heavy(arguments: list[str]) -> None:
    said, _ = run(arguments)
    sentence, probed = said.strip().splitlines()
    assert sentence.startswith("error: ")
    assert probed == "heavy: [] code: 2"

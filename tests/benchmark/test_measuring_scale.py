"""The command behind results/scale.json: one run, part by part, and one record of it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "measure_scale.py"
ORIGIN = {"command", "commit", "date", "machine"}


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, which records nothing."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which it sets, and which must not stay
    spec = importlib.util.spec_from_file_location("measure_scale", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "measure_scale", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "record", lambda *_, **__: None)
    return module


class Parts:
    """Parts that write down when they were done; one of them fails at first."""

    def __init__(self, fails: str = "") -> None:
        self.done: list[str] = []
        self.fails = fails

    def of(self, scale: ModuleType) -> dict[str, Callable[[], dict[str, Any]]]:
        return {name: lambda name=name: self.do(name) for name in scale.PARTS}

    def do(self, name: str) -> dict[str, Any]:
        if name == self.fails:
            self.fails = ""
            raise SystemExit(f"{name}: torchrun ended with 1.")
        self.done.append(name)
        return {"said": f"{name} {len(self.done)}"}


def test_a_run_that_failed_goes_on_with_what_is_missing_and_writes_one_record(scale, tmp_path):
    parts, path = Parts(fails="saving"), tmp_path / "scale.json"
    given = (tmp_path / "out", path, scale.Extent(), "python scripts/measure_scale.py")
    with pytest.raises(SystemExit, match="saving: torchrun ended with 1"):
        scale.measure(*given, parts.of(scale))
    assert not path.exists(), "a record holds all parts or is not there"
    began = json.loads((tmp_path / "out" / "run.json").read_text())["origin"]
    scale.measure(*given, parts.of(scale))
    assert parts.done == list(scale.PARTS), "each part is done once"
    found = json.loads(path.read_text())
    assert {name: found[name] for name in ORIGIN} == began
    assert found.keys() == ORIGIN | {"extent"} | {*scale.PARTS}
    for number, name in enumerate(scale.PARTS, 1):
        assert found[name]["said"] == f"{name} {number}"
        assert not ORIGIN & found[name].keys(), "no part has a command or a date of its own"


@pytest.mark.parametrize("changed", ["extent", "code", "machine"])
def test_what_another_run_left_is_measured_anew(scale, tmp_path, monkeypatch, changed):
    parts, path = Parts(), tmp_path / "scale.json"
    scale.measure(tmp_path / "out", path, scale.Extent(), "one", parts.of(scale))
    extent = scale.Extent(turns=1) if changed == "extent" else scale.Extent()
    if changed == "code":
        monkeypatch.setattr(scale, "file_sha256", lambda path: path.name)
    if changed == "machine":
        own = scale.provenance

        def elsewhere(command: str, threads: int) -> dict[str, Any]:
            found = own(command, threads)
            return found | {"machine": found["machine"] | {"cpu": "another"}}

        monkeypatch.setattr(scale, "provenance", elsewhere)
    scale.measure(tmp_path / "out", path, extent, "other", parts.of(scale))
    assert parts.done == 2 * list(scale.PARTS)
    assert json.loads(path.read_text())["command"] == "other"
    assert json.loads(path.read_text())["speed"]["said"] == f"speed {len(scale.PARTS) + 1}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_command_makes_a_record_of_all_parts(tmp_path: Path) -> None:
    words = ["--tiny", "--out", str(tmp_path / "out"), "--record", str(tmp_path / "scale.json")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(SCRIPT), *words], check=True, env=environment)
    found = json.loads((tmp_path / "scale.json").read_text())
    assert found["command"] == f"python scripts/measure_scale.py {' '.join(words)}"
    rates = found["speed"]["frames_per_s"]
    assert {"one", "two_apart", "ddp_strong", "ddp_weak", "fsdp_weak"} == rates.keys()
    assert min(rates.values()) > 0
    assert found["speed"]["model"]["checked"].keys() == {"ddp_strong", "ddp_weak", "fsdp_weak"}
    assert found["losses"]["fsdp_resumed_same_bits"]
    assert max(found["losses"]["largest_relative_difference"].values()) < 1e-5
    assert found["saving"]["pause_s"]["n"] == 1 and found["saving"]["checkpoint_bytes"] > 1e6
    for parallel in ("ddp", "fsdp"):
        killed = found["elastic"][parallel]
        assert killed["identical"] and killed["restarts"] == len(killed["kills"]) == 2
    check_table(found["computed"])


def check_table(computed: dict[str, Any]) -> None:
    """What is computed for a node of 8 GPUs is the formula, written down once more."""
    counts, assumed = computed["counted"]["small"], computed["assumed"]
    (row,) = (
        row
        for row in computed["table"]
        if (row["size"], row["parallel"], row["gpus"]) == ("small", "ddp", 8)
    )
    assert not computed["measured"] and row["parts"] == 1
    per_second = assumed["peak_flops"] * assumed["utilisation"]
    compute = assumed["frames_per_gpu_and_step"] * counts["operations_per_frame"] / per_second
    work, link = counts["exchanged"], assumed["inside_a_node"]
    sent = 7 / 8 * (8 * work["parameters"] + 2 * work["reduced_bytes"])
    messages = 3 * (2 * work["reductions"] + 2)  # a tree of 8 is 3 high
    step = compute + messages * link["latency_s"] + sent / link["bytes_per_s"]
    assert row["frames_per_s"] == pytest.approx(8 * 512 / step, rel=1e-3)
    assert row["state_gb_per_gpu"] == pytest.approx(20 * work["parameters"] / 1e9, abs=1e-3)
    # a hundred hours at ten steps a second, forty times
    assert assumed["frames_of_a_run"] == 100 * 3600 * 10 * 40
    tuned, encoding = assumed["fine_tuning"], counts["encoding_operations_per_frame"]
    alone = tuned["clips_encoded"] * tuned["clip_length"] * encoding
    alone += (
        tuned["updates"] * tuned["clips_per_update"] * counts["fine_tuning_operations_per_clip"]
    )
    seconds = 144e6 / (8 * 512) * step + alone / per_second
    assert row["gpu_hours_of_a_run"] == pytest.approx(8 * seconds / 3600, rel=1e-2)
    # of three equal passes (forward, and two backward) one is the encoding, but for the heads
    assert 0.2 < encoding / counts["operations_per_frame"] < 0.34
    assert counts["activation_bytes_per_frame"] > 1e6

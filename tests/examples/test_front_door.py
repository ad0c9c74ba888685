"""What README and the notebook show runs as it stands, in a folder of its own."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "first_model.ipynb"
MOST_CPU_SECONDS = 240  # on one core of a slow machine (AMD EPYC without AMX)
MOST_SECONDS = 900  # other work may share the machine


def front_door(readme: str) -> str:
    """Return the first block of Python that imports armillary as arm."""
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if "import armillary as arm" in block)


@contextmanager
def on_one_core() -> Iterator[Callable[[], float]]:
    """Keep what is started inside to one core; yield what tells its processor time in seconds."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    def used() -> float:
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    try:
        if cores:
            os.sched_setaffinity(0, {min(cores)})
        yield used
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


def environment(folder: Path) -> dict[str, str]:
    own = {"ARMILLARY_CACHE": str(folder / "cache"), "IPYTHONDIR": str(folder / "ipython")}
    return {**os.environ, **own, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}


@pytest.mark.timeout(MOST_SECONDS)
def test_the_ten_lines_of_the_readme_print_a_success_rate(tmp_path: Path) -> None:
    script = tmp_path / "ten_lines.py"
    script.write_text(front_door((ROOT / "README.md").read_text()))
    assert len(script.read_text().splitlines()) <= 10
    with on_one_core() as used:
        done = subprocess.run(
            [sys.executable, script.name],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert used() < MOST_CPU_SECONDS
    assert re.search(r"^pusher_xy +[\d.]+", done.stdout, re.MULTILINE)
    assert re.search(r"^goals reached: \d+% of 10$", done.stdout, re.MULTILINE)
    assert (tmp_path / "out" / "run" / "model" / "model.safetensors").is_file()
    assert (tmp_path / "out" / "act" / "rows.json").is_file()


def test_a_readme_without_the_block_is_noticed() -> None:
    with pytest.raises(StopIteration):
        front_door("```python\nimport numpy\n```\n")


@pytest.mark.slow  # a minute, and the ten lines of the README are run by the test above
@pytest.mark.timeout(MOST_SECONDS)
@pytest.mark.filterwarnings("default")  # what another package warns of is its own affair
def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    where = {"metadata": {"path": str(tmp_path)}}
    with on_one_core() as used:
        nbclient.NotebookClient(notebook, timeout=MOST_SECONDS, resources=where).execute()
    assert used() < MOST_CPU_SECONDS
    drawn = [html for cell in notebook.cells for html in pictures(cell)]
    # dataset, episode, run, probe, rollout, surprise, plan, evaluation
    assert sum('class="armillary"' in html for html in drawn) == 8
    assert "goals reached: " in str(notebook.cells[-1].outputs)


def pictures(cell: Any) -> list[str]:
    """Return the HTML of a cell's result."""
    results = [one for one in cell.get("outputs", []) if one.output_type == "execute_result"]
    return [one.data.get("text/html", "") for one in results]


def test_the_notebook_is_kept_without_outputs() -> None:
    nbformat = pytest.importorskip("nbformat")
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert all(not cell.outputs for cell in cells if cell.cell_type == "code")
    assert all(cell.execution_count is None for cell in cells if cell.cell_type == "code")

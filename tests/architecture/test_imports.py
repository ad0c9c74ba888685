"""The import contracts hold, and a copy of the source with one bad import is reported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    command = [str(LINT), "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "armillary", tmp_path / "src" / "armillary", ignore=ignore)
    return tmp_path


def test_contracts_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("package", "line", "contract"),
    [
        ("core", "import armillary.data", "Layers, top to bottom"),
        ("models", "import armillary.planning", "Layers, top to bottom"),
        ("control", "import armillary.training", "Layers, top to bottom"),
        ("planning", "import armillary.worlds", "Mathematics knows no files and no simulators"),
        ("spatial", "import matplotlib", "Core stays light"),
        ("utils", "", "Layers, top to bottom"),
    ],
)
def test_a_bad_import_is_reported(copy: Path, package: str, line: str, contract: str) -> None:
    folder = copy / "src" / "armillary" / package
    folder.mkdir(exist_ok=True)
    with (folder / "__init__.py").open("a") as file:
        file.write(f"\n{line}\n")
    result = lint(copy)
    assert result.returncode != 0
    assert f"{contract} BROKEN" in result.stdout

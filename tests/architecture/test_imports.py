"""The import contracts hold, and a copy of the source with one bad import is reported."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
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
        ("evaluation", "import armillary.training", "Layers, top to bottom"),
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


def test_the_picture_of_the_layers_is_the_contract() -> None:
    """The names at the start of the lines of ``docs/index.md``, a layer a line, from the top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    kept = [re.findall(r"\w+", layer) for layer in layers if layer != "__main__"]
    picture = (ROOT / "docs/index.md").read_text().split("```text")[1].split("```")[0]
    drawn = [re.split(r"\s{2,}", line)[0] for line in picture.splitlines()]
    assert [re.findall(r"\w+", names) for names in drawn if names] == kept

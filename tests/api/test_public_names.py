"""``import armillary``: light, complete, documented."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import armillary as arm

NAMES = {
    "record",
    "ingest",
    "open_dataset",
    "prepare",
    "train",
    "load_model",
    "push_to_hub",
    "probe",
    "read_out",
    "surprise",
    "act",
    "evaluate",
    "plan",
    "view",
}
ITEMS = [name for name in arm.__all__ if name != "__version__"]
FUNCTIONS = [name for name in ITEMS if inspect.isfunction(getattr(arm, name))]


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_the_import_is_light() -> None:
    code = (
        "import sys, time; before = time.process_time(); import armillary as arm; dir(arm); "
        "heavy = {'torch', 'numpy', 'mujoco', 'av'} & {*sys.modules}; "
        "print(time.process_time() - before < 0.2, sorted(heavy))"
    )
    assert python(code) == "True []"


@pytest.mark.runs  # everything is imported anew: 8 s
def test_all_names_are_there() -> None:
    assert {*arm.__all__} >= NAMES
    assert {*dir(arm)} >= {*arm.__all__}
    assert python("from armillary import *; print(callable(record), callable(plan))") == "True True"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'frobnicate'"):
        arm.frobnicate  # noqa: B018


def test_type_checkers_read_the_same_names() -> None:
    stub = ast.parse(Path(arm.__file__).with_suffix(".pyi").read_text())
    imported = [
        alias for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert {alias.asname for alias in imported} == {*ITEMS}
    homes = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {name: getattr(arm, name).__module__ for name in ITEMS} == homes


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented_and_typed(name: str) -> None:
    function = getattr(arm, name)
    signature, text = inspect.signature(function), inspect.getdoc(function) or ""
    hints = typing.get_type_hints(function)
    assert {*signature.parameters} | {"return"} == {*hints}
    for part in ("Args:", "Returns:", "Raises:"):
        assert part in text
    told = text[text.index("Args:") : text.index("Returns:")]
    for parameter in signature.parameters:
        assert f"\n    {parameter}: " in told, f"{name} does not tell what {parameter} is"


@pytest.mark.parametrize("name", sorted({*ITEMS} - {*FUNCTIONS}))
def test_every_value_is_documented(name: str) -> None:
    text = inspect.getdoc(getattr(arm, name)) or ""
    told = text[text.index("Attributes:") :]
    for field in dataclasses.fields(getattr(arm, name)):
        assert f"\n    {field.name}: " in told


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_python_m_armillary_is_the_command(words: list[str]) -> None:
    command = [sys.executable, "-m", "armillary", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert ("armillary " + arm.__version__ if "--version" in words else "usage: armillary") in (
        done.stdout
    )


def test_completion_names_every_command() -> None:
    command = [sys.executable, "-m", "armillary", "--tyro-print-completion", "bash"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert all(name in done.stdout for name in ("record", "surprise", "--episodes"))

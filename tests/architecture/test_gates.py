"""Completeness gates over the syntax tree of ``src``: docstrings and annotations.

``tools/sizes.py`` prints how long files and functions are; nothing fails on that.
Names of test files are checked, too: pytest imports them by name alone.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "armillary"
Function = ast.FunctionDef | ast.AsyncFunctionDef


def has_docstring(node: ast.AST) -> bool:
    return ast.get_docstring(node) is not None


def public_functions(body: list[ast.stmt], prefix: str = "") -> list[tuple[str, Function]]:
    found: list[tuple[str, Function]] = []
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found += public_functions(node.body, f"{prefix}{node.name}.")
        if isinstance(node, Function) and not private(node.name):
            found.append((prefix + node.name, node))
    return found


def private(name: str) -> bool:
    return name.startswith("_") and not dunder(name)


def dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def unannotated(function: Function) -> list[str]:
    spec = function.args
    positional = spec.posonlyargs + spec.args
    starred = [a for a in (spec.vararg, spec.kwarg) if a]
    named = [a for a in positional + spec.kwonlyargs if a.arg not in ("self", "cls")]
    missing = [a.arg for a in named + starred if a.annotation is None]
    return missing + (["return"] if function.returns is None else [])


def completeness_problems(tree: ast.Module) -> list[str]:
    problems = []
    for name, function in public_functions(tree.body):
        if missing := unannotated(function):
            problems.append(f"{name} lacks annotations of {', '.join(missing)}")
        if not dunder(function.name) and not has_docstring(function):
            problems.append(f"{name} lacks a docstring")
    return problems


def sources() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(SRC)))
def test_every_file_keeps_the_gates(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert completeness_problems(tree) == []
    assert has_docstring(tree), "the first line of a file tells its idea"


@pytest.mark.parametrize(
    ("snippet", "problem"),
    [
        ("def f(x) -> int:\n    '''Doc.'''\n", "f lacks annotations of x"),
        ("def f(x: int):\n    '''Doc.'''\n", "f lacks annotations of return"),
        ("def f(*a, **k) -> int:\n    '''Doc.'''\n", "f lacks annotations of a, k"),
        ("class A:\n    def f(self) -> int:\n        return 1\n", "A.f lacks a docstring"),
        ("class A:\n    def __len__(self):\n        return 1\n", "A.__len__ lacks annotations"),
    ],
)
def test_gate_on_completeness_can_fail(snippet: str, problem: str) -> None:
    [found] = completeness_problems(ast.parse(snippet))
    assert found.startswith(problem)


def test_private_and_nested_functions_are_free() -> None:
    snippet = "def _f(x): return x\ndef g() -> int:\n    '''Doc.'''\n    def h(x): return x\n"
    assert completeness_problems(ast.parse(snippet)) == []


def test_the_sizes_are_printed_and_stubs_are_not_counted(tmp_path: Path) -> None:
    stub = "def f() -> int:\n    '''Doc.'''\n    ...\n\n"
    long = "def g(x: int) -> int:\n    '''Doc.'''\n" + "    x += 1\n" * 500
    (tmp_path / "a.py").write_text(stub + long + "\ndef h() -> int:\n    return 1\n")
    command = [sys.executable, str(ROOT / "tools" / "sizes.py"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "   500  a.py: g:5" in result.stdout
    assert "     1  a.py: h:508" in result.stdout
    assert "a.py: f" not in result.stdout


def test_two_test_files_never_share_a_name() -> None:
    """pytest collects one of them and ends with an error (``import file mismatch``)."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []

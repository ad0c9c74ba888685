"""Size and completeness gates over the syntax tree of ``src``.

Length of a function = lines of its body without its docstring: from the first statement after the
docstring to the last line, blank lines and comments inside included, signature and decorators not.
Stubs (protocol methods whose body is ``...``) are not counted: they would flatter the median.
Functions inside functions count on their own and again inside the outer one.
"""

from __future__ import annotations

import ast
from pathlib import Path
from statistics import median, quantiles

import pytest

SRC = Path(__file__).parents[2] / "src" / "armillary"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80
MAX_P90_LINES = 35
MAX_MEDIAN_LINES = 10

Function = ast.FunctionDef | ast.AsyncFunctionDef


def has_docstring(node: ast.AST) -> bool:
    return ast.get_docstring(node) is not None


def body_lines(function: Function) -> int:
    statements = function.body[1:] if has_docstring(function) else function.body
    if not statements or (len(statements) == 1 and is_ellipsis(statements[0])):
        return 0
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1


def is_ellipsis(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and statement.value.value is ...
    )


def functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def lengths(tree: ast.AST) -> dict[str, int]:
    counted = {f"{node.name}:{node.lineno}": body_lines(node) for node in functions(tree)}
    return {name: length for name, length in counted.items() if length > 0}


def too_long(tree: ast.AST) -> list[str]:
    return [name for name, length in lengths(tree).items() if length > MAX_FUNCTION_LINES]


def distribution_problems(all_lengths: list[int]) -> list[str]:
    problems = []
    if median(all_lengths) > MAX_MEDIAN_LINES:
        problems.append(f"median function {median(all_lengths)} lines > {MAX_MEDIAN_LINES}")
    p90 = quantiles(all_lengths, n=10)[-1]
    if p90 > MAX_P90_LINES:
        problems.append(f"90th percentile {p90} lines > {MAX_P90_LINES}")
    return problems


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
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= MAX_FILE_LINES
    assert too_long(tree) == []
    assert completeness_problems(tree) == []
    assert has_docstring(tree), "the first line of a file tells its idea"


def test_functions_are_short_on_the_whole() -> None:
    found = [n for path in sources() for n in lengths(ast.parse(path.read_text())).values()]
    assert distribution_problems(found) == []


def test_gate_on_length_can_fail() -> None:
    long = ast.parse("def f(x: int) -> int:\n    '''Doc.'''\n" + "    x += 1\n" * 81)
    fine = ast.parse("def f(x: int) -> int:\n    '''Doc.'''\n" + "    x += 1\n" * 80)
    assert too_long(long) == ["f:1"]
    assert too_long(fine) == []


def test_gate_on_distribution_can_fail() -> None:
    assert distribution_problems([11] * 20) == ["median function 11.0 lines > 10"]
    assert len(distribution_problems([2] * 15 + [60] * 5)) == 1
    assert distribution_problems([2] * 20) == []


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


def test_stubs_do_not_flatter_the_median() -> None:
    tree = ast.parse("def f() -> int:\n    '''Doc.'''\n    ...\n\ndef g() -> int:\n    return 1\n")
    assert lengths(tree) == {"g:5": 1}

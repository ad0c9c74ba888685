"""Print how long files and functions are, and the longest of each. It judges nothing.

Length of a function = lines of its body without its docstring: from the first statement after the
docstring to the last line, blank lines and comments included. Stubs (``...``) are not counted, as
they would flatter the median. A function inside another counts on its own and in the outer one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

SRC = Path(__file__).parents[1] / "src" / "armillary"
LONGEST = 10

Function = ast.FunctionDef | ast.AsyncFunctionDef


def body_lines(function: Function) -> int:
    """Return the length of a function; 0 for a stub."""
    own = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not own or (len(own) == 1 and _is_ellipsis(own[0])):
        return 0
    return (own[-1].end_lineno or 0) - own[0].lineno + 1


def _is_ellipsis(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and statement.value.value is ...
    )


def functions(source: str) -> Iterator[tuple[int, str]]:
    """Yield length, and name with line, of every function that is no stub."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function) and (length := body_lines(node)):
            yield length, f"{node.name}:{node.lineno}"


def table(folder: Path) -> str:
    """Return the sizes of all Python files below a folder as a text table."""
    texts = {path.relative_to(folder): path.read_text() for path in sorted(folder.rglob("*.py"))}
    files = sorted(((len(text.splitlines()), str(path)) for path, text in texts.items()))[::-1]
    found = [
        (length, f"{path}: {name}")
        for path, text in texts.items()
        for length, name in functions(text)
    ]
    rows = [
        ("", "count", "median", "90 %", "longest"),
        ("lines of a file", *_summary([length for length, _ in files])),
        ("lines of a function", *_summary([length for length, _ in found])),
    ]
    lines = [
        f"{what:<19}{count:>8}{middle:>8}{p90:>8}{most:>8}"
        for what, count, middle, p90, most in rows
    ]
    for title, sizes in (("Longest files", files), ("Longest functions", sorted(found)[::-1])):
        lines += ["", title, *(f"{length:6}  {name}" for length, name in sizes[:LONGEST])]
    return "\n".join(lines)


def _summary(lengths: list[int]) -> tuple[str, ...]:
    """Return count, median, 90th percentile and largest; dashes where there is nothing."""
    if not lengths:
        return ("0", "-", "-", "-")
    p90 = sorted(lengths)[(9 * len(lengths) - 1) // 10]
    return tuple(f"{number:.0f}" for number in (len(lengths), median(lengths), p90, max(lengths)))


if __name__ == "__main__":
    print(table(Path(sys.argv[1]) if len(sys.argv) > 1 else SRC))  # noqa: T201

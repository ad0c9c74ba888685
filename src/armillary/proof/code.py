"""Code: the hash of everything that decides what is asked in a suite and how it is judged.

It is the closure of the imports at the top of files, from the harness and the suite's worlds on:
what they import, what that imports, and so on, within this package. Of these files the definitions
count, and neither the file that holds them nor its imports: a function that moves to another file
asks for no new attempt. It finds drift between two versions; against somebody who changes the code
on purpose, others run their own copy.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from armillary.core.errors import unknown_name
from armillary.proof.canonical import digest

# Worlds that a suite may name, and the file of each: a closed set, so that a suite's file cannot
# make anybody import something.
QUADRUPLETS = "quadruplets"  # no world of ``armillary.worlds``: ``suite_worlds.py`` says why
WORLD_MODULES = {
    QUADRUPLETS: "armillary.proof.quadruplets",
    "two_rooms": "armillary.worlds.two_rooms.world",
    "tabletop": "armillary.worlds.tabletop.world",
    "perturbed": "armillary.worlds.perturbed",
}
# Their pictures come from a graphics driver, and another driver may draw another last bit.
DRAWN_BY_A_DRIVER = frozenset({"tabletop", "perturbed"})
_HARNESS = (
    "armillary.evaluation.evaluate",
    "armillary.evaluation.replay",
    "armillary.worlds.registry",
    "armillary.proof.seeds",
    "armillary.proof.rows",
)
_PACKAGE = "armillary"
_ROOT = Path(__file__).parents[1]


def code_digest(worlds: Sequence[str]) -> str:
    """Return the hash of the code that decides in these worlds.

    Args:
        worlds: keys of ``WORLD_MODULES``.

    Raises:
        ConfigError: a world that suites do not have.
    """
    texts = [path.read_text() for path in code_files(worlds)]
    return digest(sorted(one for text in texts for one in definitions(text)))


def definitions(source: str) -> list[str]:
    """Return the top-level statements of a file but its docstring, as text, without any imports."""
    tree, lines = ast.parse(source), source.split("\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            lines[node.lineno - 1 : node.end_lineno] = [""] * (_end(node) - node.lineno + 1)
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    found = ("\n".join(lines[_begin(node) - 1 : _end(node)]) for node in body)
    return [text for text in map(_without_blank_lines, found) if text]


def code_files(worlds: Sequence[str]) -> tuple[Path, ...]:
    """Return the files behind ``code_digest``, sorted.

    Raises:
        ConfigError: a world that suites do not have.
    """
    for name in worlds:
        if name not in WORLD_MODULES:
            raise unknown_name("world for suites", name, WORLD_MODULES)
    found: set[str] = set()
    waiting = [*_HARNESS, *(WORLD_MODULES[name] for name in worlds)]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += _imports(module)
    return tuple(sorted(_file(module) for module in found))


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Return the modules of this package that a module imports when it is loaded."""
    return tuple(
        target
        for home, name in _imported(module)
        if home.split(".")[0] == _PACKAGE
        for target in _resolved(home, name)
    )


def _imported(module: str) -> Iterator[tuple[str, str]]:
    for node in ast.parse(_file(module).read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def _resolved(home: str, name: str) -> list[str]:
    """Return the modules behind ``from home import name``.

    Where a package only passes a name on, that is the module that it comes from.
    """
    if name and _exists(f"{home}.{name}"):
        return [f"{home}.{name}"]
    if not _is_package(home):
        return [home]
    passed = [origin for origin, other in _imported(home) if other == name] + _lazy(home, name)
    if not passed:
        return [home]
    return [target for origin in passed for target in _resolved(origin, name)]


def _lazy(home: str, name: str) -> list[str]:
    """Return the module that a package's ``_HOMES`` names for something imported on demand."""
    for node in ast.parse(_file(home).read_text()).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "_HOMES" for target in node.targets
        ):
            homes = ast.literal_eval(node.value)
            return [f"{home}.{homes[name]}"] if name in homes else []
    return []


def _begin(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _without_blank_lines(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.strip())


def _file(module: str) -> Path:
    path = _ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exists(module: str) -> bool:
    return _file(module).is_file()


def _is_package(module: str) -> bool:
    return _file(module).name == "__init__.py"

"""WKT: the linear units of a coordinate system that is written as well-known text.

Only the tree of brackets is read: a projected system's own UNIT counts, not the angle of the
geographic one inside it.

Source: OGC 01-009 (WKT 1), OGC 12-063r5 (WKT 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_DEPTH = 64
_TOKEN = re.compile(r'"(?:[^"]|"")*"|[^\s,\[\]()"]+|[\[\](),]')
_PLANE = frozenset(["PROJCS", "PROJCRS", "PROJECTEDCRS", "LOCAL_CS", "ENGCRS", "ENGINEERINGCRS"])
_HEIGHT = frozenset(["VERT_CS", "VERTCS", "VERTCRS", "VERTICALCRS"])
_ROUND = frozenset(["GEOGCS", "GEOGCRS", "GEODCRS", "GEODETICCRS", "GEOGRAPHICCRS"])
_CENTRED = frozenset(["GEOCCS"])
_UNITS = frozenset(["UNIT", "LENGTHUNIT"])
_METRE_NAMES = frozenset(["m", "metre", "meter", "metres", "meters"])
_FOOT = re.compile(r"\b(?:foot|feet|ft|ftus)\b")


@dataclass(frozen=True)
class LinearUnits:
    """What a coordinate system is measured in.

    Attributes:
        plane: metres of one unit of x and y; None where it does not tell.
        height: metres of one unit of z; None where it does not tell.
        degrees: whether x and y are angles.
        geocentric: whether x, y and z are from the centre of the Earth, so that z is not up.
        contradiction: what in it cannot both be, in words; empty where nothing is.
    """

    plane: float | None
    height: float | None
    degrees: bool
    geocentric: bool = False
    contradiction: str = ""


@dataclass(frozen=True)
class _Unit:
    name: str
    metres: float


@dataclass
class _Node:
    keyword: str
    words: list[str] = field(default_factory=list)
    inside: list[_Node] = field(default_factory=list)


def linear_units(text: str) -> LinearUnits:
    """Return the linear units of a coordinate system; nothing known where the text is damaged."""
    nodes = list(_walk(_parsed(text)))
    plane, up = _units(nodes, _PLANE)
    height, _ = _units(nodes, _HEIGHT)
    height = height or up
    flat = any(node.keyword in _PLANE for node in nodes)
    round_ = [node for node in nodes if node.keyword in _ROUND]
    geocentric = not flat and any(n.keyword in _CENTRED or _is_cartesian(n) for n in nodes)
    return LinearUnits(
        plane[0].metres if plane else None,
        height[0].metres if height else None,
        not flat and not geocentric and bool(round_),
        geocentric,
        _contradiction(plane) or _contradiction(height),
    )


def agree(one: float, other: float) -> bool:
    """Say whether two units are the same; the feet of two countries are, beside a metre."""
    return abs(one - other) <= 1e-4 * max(one, other)


def _is_cartesian(node: _Node) -> bool:
    """Say whether a geodetic system has no latitude but x, y and z (WKT 2)."""
    systems = [inside for inside in node.inside if inside.keyword == "CS"]
    return node.keyword in _ROUND and any("cartesian" in map(str.lower, s.words) for s in systems)


def _units(nodes: list[_Node], keywords: frozenset[str]) -> tuple[list[_Unit], list[_Unit]]:
    """Return the units of the first such system: its own and its axes', and those of axes up."""
    for node in nodes:
        if node.keyword in keywords:
            axes = [inside for inside in node.inside if inside.keyword == "AXIS"]
            up = [axis for axis in axes if "up" in map(str.lower, axis.words)]
            along = [unit for axis in axes if axis not in up for unit in axis.inside]
            risen = [unit for axis in up for unit in axis.inside]
            if keywords == _HEIGHT:
                return _known([*node.inside, *along, *risen]), []
            return _known([*node.inside, *along]), _known(risen)
    return [], []


def _known(nodes: list[_Node]) -> list[_Unit]:
    metres = [(node, _metres(node)) for node in nodes if node.keyword in _UNITS]
    return [_Unit(node.words[0], value) for node, value in metres if value is not None]


def _contradiction(units: list[_Unit]) -> str:
    for unit in units:
        if not agree(unit.metres, units[0].metres):
            return f"units of {units[0].metres:g} m and of {unit.metres:g} m"
        name = unit.name.lower().replace("_", " ")
        meant = 1.0 if name in _METRE_NAMES else 0.3048 if _FOOT.search(name) else unit.metres
        if abs(unit.metres - meant) > 0.01 * meant:
            return f"a unit called {unit.name[:40]!r} of {unit.metres:g} m"
    return ""


def _metres(unit: _Node) -> float | None:
    try:
        metres = float(unit.words[1])
    except (IndexError, ValueError):
        return None
    return metres if 1e-6 < metres < 1e6 else None


def _parsed(text: str) -> _Node:
    root = _Node("")
    stack = [root]
    word = ""
    for token in _TOKEN.findall(text):
        if token in "[(":
            node = _Node(word.upper())
            if stack[-1].words and stack[-1].words[-1] == word:
                stack[-1].words.pop()
            stack[-1].inside.append(node)
            if len(stack) >= MAX_DEPTH:
                return root
            stack.append(node)
        elif token in "])":
            if len(stack) > 1:
                stack.pop()
        elif token != ",":
            word = token.strip('"')
            stack[-1].words.append(word)
    return root


def _walk(node: _Node) -> Iterator[_Node]:
    yield node
    for inside in node.inside:
        yield from _walk(inside)

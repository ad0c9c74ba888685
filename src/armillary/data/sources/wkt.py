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
_UNITS = frozenset(["UNIT", "LENGTHUNIT"])


@dataclass(frozen=True)
class LinearUnits:
    """What a coordinate system is measured in.

    Attributes:
        plane: metres of one unit of x and y; None where it does not tell.
        height: metres of one unit of z; None where it does not tell.
        degrees: whether x and y are angles.
    """

    plane: float | None
    height: float | None
    degrees: bool


@dataclass
class _Node:
    keyword: str
    words: list[str] = field(default_factory=list)
    inside: list[_Node] = field(default_factory=list)


def linear_units(text: str) -> LinearUnits:
    """Return the linear units of a coordinate system; nothing known where the text is damaged."""
    nodes = list(_walk(_parsed(text)))
    plane = _first_unit(nodes, _PLANE)
    flat = any(node.keyword in _PLANE for node in nodes)
    degrees = not flat and any(node.keyword in _ROUND for node in nodes)
    return LinearUnits(plane, _first_unit(nodes, _HEIGHT), degrees)


def _first_unit(nodes: list[_Node], keywords: frozenset[str]) -> float | None:
    for node in nodes:
        if node.keyword in keywords:
            axes = [unit for axis in node.inside if axis.keyword == "AXIS" for unit in axis.inside]
            units = [unit for unit in [*node.inside, *axes] if unit.keyword in _UNITS]
            return next((m for unit in units if (m := _metres(unit)) is not None), None)
    return None


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

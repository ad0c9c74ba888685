"""Sidecar: what armillary knows about an episode beyond LeRobot's columns, checked when it is read.

Nothing of it is believed that a disk may have damaged, or that a stranger may have written.
"""

from __future__ import annotations

from typing import Any, get_args

from armillary.core.errors import DatasetError
from armillary.core.values import StreamKind

_KINDS = get_args(StreamKind)
_ROWS = 3  # of a camera's matrix


def checked_sidecar(value: Any, where: str) -> dict[str, Any]:
    """Return a sidecar whose streams are described as they are read here.

    Args:
        value: from JSON.
        where: what to call it in an error.

    Raises:
        DatasetError: it is something else.
    """
    streams = value.get("streams") if isinstance(value, dict) else None
    texts = ("source", "license", "task")
    good = (
        isinstance(streams, dict)
        and all(isinstance(value.get(name, ""), str) for name in texts)
        and all(_is_stream(spec) for spec in streams.values())
    )
    if not good:
        raise DatasetError(
            f"{where}: the description of an episode is damaged; fetch the dataset again, or write "
            "it anew."
        )
    return value


def _is_stream(spec: Any) -> bool:
    if not isinstance(spec, dict) or spec.get("kind") not in _KINDS:
        return False
    if not all(isinstance(spec.get(name), str) for name in ("unit", "frame")):
        return False
    lens = spec.get("intrinsics")
    if lens is not None and not _is_lens(lens):
        return False
    return spec["kind"] != "points" or _is_cloud(spec)


def _is_lens(lens: Any) -> bool:
    rows = lens if isinstance(lens, list) and len(lens) == _ROWS else ()
    numbers = [one for row in rows if isinstance(row, list) and len(row) == _ROWS for one in row]
    return len(numbers) == _ROWS**2 and all(type(one) in (int, float) for one in numbers)


def _is_cloud(spec: dict[str, Any]) -> bool:
    columns = spec.get("columns")
    named = isinstance(columns, list) and all(isinstance(one, str) for one in columns)
    return named and type(spec.get("most")) is int

"""HDF5 files that are not trusted: only plain arrays that lie in the file itself are read.

A link is followed if it is a hard one, which cannot lead out of the file. An array is read if it
holds numbers of a known size in this file, through filters that come with h5py: HDF5 would load any
other filter as a library, and look for external or virtual arrays in other files.

Source: HDF5 User Guide, "Links", "Filters", "External storage"; h5py 3.16.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import FormatError
from armillary.core.optional import require
from armillary.data.sources.counted_steps import MAX_STEPS
from armillary.data.sources.damaged import damaged
from armillary.data.video import MAX_PIXELS

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_NUMBERS = 1 << 26  # of an array that is read whole
MAX_CHILDREN = 100_000
_MAX_ROW_BYTES = 3 * MAX_PIXELS
_MAX_CHUNK_BYTES = 256 << 20
_MAX_TEXT_BYTES = 16 << 20
_FILTERS = {1, 2, 3, 32000}  # deflate, shuffle, fletcher32, lzf
_MOST_FILTERS = 8


def h5py() -> Any:
    """Return the module.

    Raises:
        MissingExtraError: it is not installed.
    """
    return require("h5py", "hdf5", "read HDF5 files")


def hdf5_errors(where: str) -> AbstractContextManager[None]:
    """Turn whatever h5py raises for a damaged file into one sentence (``damaged``)."""
    return damaged(where, "HDF5")


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Yield an open ``h5py.File``; what is done with it belongs into ``hdf5_errors``.

    Raises:
        FormatError: it is no HDF5, or its beginning is damaged.
        MissingExtraError: h5py is not installed.
    """
    module = h5py()
    with hdf5_errors(str(path)):
        # a chunk that does not fit the cache would be unpacked again for each of its steps
        file = module.File(path, "r", rdcc_nbytes=_MAX_CHUNK_BYTES)
    try:
        yield file
    finally:
        with hdf5_errors(str(path)):
            file.close()


def begins_like_hdf5(path: Path) -> bool:
    """Say whether a file has the signature of HDF5 at its beginning."""
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def children(group: Any) -> dict[str, Any]:
    """Return the groups and arrays of a group by name; links that are not hard are passed over."""
    found = {}
    for count, name in enumerate(group):
        if count >= MAX_CHILDREN:
            raise FormatError(f"{group.name}: holds more than {MAX_CHILDREN} names; refused.")
        if (child := _child(group, name)) is not None:
            found[name] = child
    return found


def _child(group: Any, name: str) -> Any:
    """Return a group or array by its name; None where there is none, or its link is not hard."""
    module = h5py()
    if not isinstance(group.get(name, getlink=True), module.HardLink):
        return None
    child = group[name]
    return child if isinstance(child, (module.Group, module.Dataset)) else None


def is_group(node: Any) -> bool:
    """Say whether something in a file is a group."""
    return isinstance(node, h5py().Group)


def is_array(node: Any) -> bool:
    """Say whether something in a file is an array."""
    return isinstance(node, h5py().Dataset)


def walked(file: Any, names: Sequence[str]) -> Any:
    """Return what lies below a file's root, by hard links alone.

    Raises:
        FormatError: there is nothing of that name.
    """
    node = file
    for name in names:
        node = _child(node, name) if is_group(node) else None
        if node is None:
            raise FormatError(f"{file.filename}: holds no {'/'.join(names)!r}.")
    return node


def refusal(array: Any) -> str:
    """Return why an array is not read, in words; nothing if it can be."""
    kind, shape = array.dtype, array.shape
    if kind.kind not in "fiub" or kind.itemsize > 8:
        return f"values of type {kind}, where numbers are read"
    if array.external or array.is_virtual:
        return "values that lie in another file"
    plan = array.id.get_create_plist()
    count = plan.get_nfilters()
    if count > _MOST_FILTERS:
        return f"{count} filters"
    odd = {plan.get_filter(number)[0] for number in range(count)} - _FILTERS
    if odd:
        return f"the filter {min(odd)}, which would be loaded from a library"
    if not shape or len(shape) > 4:
        return f"shape {list(shape or ())}, where steps come first"
    row = math.prod(shape[1:]) * kind.itemsize
    if shape[0] > MAX_STEPS or row > _MAX_ROW_BYTES:
        return f"shape {list(shape)}, larger than what is read"
    if array.chunks and math.prod(array.chunks) * kind.itemsize > _MAX_CHUNK_BYTES:
        return f"chunks of shape {list(array.chunks)}, larger than what is unpacked at once"
    return ""


def whole(array: Any, where: str) -> np.ndarray:
    """Return all of an array of vectors [T ...].

    Raises:
        FormatError: it has more numbers than are read at once, or is damaged.
    """
    if math.prod(array.shape) > MAX_NUMBERS:
        raise FormatError(f"{where}: shape {list(array.shape)} is more than what is read at once.")
    return np.asarray(array[()])


def attribute(node: Any, name: str) -> str | float | None:
    """Return an attribute that is one text or one number; None for all others, or where it lacks.

    Raises:
        FormatError: a text that is too long.
    """
    if name not in node.attrs:
        return None
    stored = node.attrs.get_id(name)
    if stored.shape not in ((), (1,)):
        return None
    if h5py().check_string_dtype(stored.dtype) is None and stored.dtype.kind not in "fiub":
        return None
    if stored.get_storage_size() > _MAX_TEXT_BYTES:
        raise FormatError(f"{node.name}: the attribute {name!r} is too long; refused.")
    value = node.attrs[name]
    value = value.reshape(-1)[0] if isinstance(value, np.ndarray) else value
    if isinstance(value, bytes):
        return value[:_MAX_TEXT_BYTES].decode(errors="replace")
    return value[:_MAX_TEXT_BYTES] if isinstance(value, str) else float(value)

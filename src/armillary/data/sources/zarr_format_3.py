"""Zarr format 3: what ``zarr.json`` says of an array, in the words of format 2.

Chunks that are not sharded are the same bytes in both formats: numbers in C or F order, packed by
at most one codec. Their keys differ: ``c/0/1`` in format 3, ``0.1`` in format 2.

Source: Zarr, core specification version 3.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from armillary.core.errors import FormatError

_TYPES = frozenset(
    {"bool", "float16", "float32", "float64"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
_KNOWN = frozenset({
    "attributes", "chunk_grid", "chunk_key_encoding", "codecs", "data_type", "dimension_names",
    "fill_value", "node_type", "shape", "storage_transformers", "zarr_format",
})  # fmt: skip
_PACKED = ("blosc", "gzip", "zstd")
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def as_format_2(meta: Mapping[str, Any], file: str) -> dict[str, Any] | str:
    """Return the description of an array as ``.zarray`` would have it, or why it is not read.

    Args:
        meta: ``zarr.json`` of the array.
        file: its name, for sentences.

    Returns:
        The entries of ``.zarray``, of which the sizes are not checked; beside them ``file``, and
        ``prefix``, which stands before the key of each chunk.

    Raises:
        FormatError: it does not describe an array of format 3.
    """
    if meta.get("zarr_format") != 3 or meta.get("node_type") != "array":
        raise FormatError(f"{file} does not describe an array of Zarr format 3.")
    kind = meta.get("data_type")
    if not isinstance(kind, str) or kind not in _TYPES:
        return f"values of type {str(kind)[:40]!r}, where numbers are read"
    needed = sorted(each for each in meta if each not in _KNOWN and not _may_be_passed(meta[each]))
    if needed or meta.get("storage_transformers"):
        return (
            f"{(needed or ['storage_transformers'])[0][:40]!r} of Zarr format 3, which is not read"
        )
    grid, keys = _named(meta.get("chunk_grid")), _named(meta.get("chunk_key_encoding"))
    if grid[0] != "regular" or keys[0] not in ("default", "v2"):
        return "chunks that are not of one size, or of other names, which are not read"
    fill = meta.get("fill_value")
    if not isinstance(fill, (bool, int, float)) and fill not in _NOT_FINITE:
        return f"the fill value {str(fill)[:40]!r}, which is not read"
    chain = _chain(meta.get("codecs"), meta.get("shape"))
    if isinstance(chain, str):
        return chain
    order, endian, packed = chain
    return {
        "shape": meta.get("shape"),
        "chunks": grid[1].get("chunk_shape"),
        "dtype": np.dtype(kind).newbyteorder(">" if endian == "big" else "<").str,
        "compressor": {"id": packed} if packed else None,
        "order": order,
        "fill_value": fill,
        "dimension_separator": keys[1].get("separator", "/" if keys[0] == "default" else "."),
        "file": file,
        "prefix": "" if keys[0] == "v2" else f"c{keys[1].get('separator', '/')}",
    }


def _may_be_passed(value: object) -> bool:
    return isinstance(value, dict) and value.get("must_understand") is False


def _named(value: object) -> tuple[str, dict[str, Any]]:
    """Return the name and the settings of an extension."""
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, dict):
        return "", {}
    settings = value.get("configuration")
    return str(value.get("name"))[:40], settings if isinstance(settings, dict) else {}


def _chain(codecs: object, shape: object) -> tuple[str, str, str] | str:
    """Return order, byte order and packing of the chunks, or why they are not read."""
    chain = [_named(each) for each in codecs] if isinstance(codecs, list) else []
    order = "C"
    if chain and chain[0][0] == "transpose" and isinstance(shape, list):
        axes, forwards = chain.pop(0)[1].get("order"), list(range(len(shape)))
        if axes not in (forwards, forwards[::-1]):
            return "axes in another order, which is not read"
        order = "C" if axes == forwards else "F"
    if not chain or chain[0][0] != "bytes" or len(chain) > 2:
        names = ", ".join(name for name, _ in chain[:4]) or "none"
        return f"the codecs {names}, which are not read; write it anew without shards and filters"
    packed = chain[1][0] if len(chain) == 2 else ""
    if packed and packed not in _PACKED:
        return (
            f"the codec {packed!r}, which is not read; write it anew with one of "
            f"{', '.join(_PACKED)}, or without"
        )
    return order, str(chain[0][1].get("endian", "little")), packed

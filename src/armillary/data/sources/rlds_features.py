"""Features of RLDS: what ``features.json`` of TensorFlow Datasets says is in each episode.

Nested names are joined by ``/``, as the keys of the records are: ``steps/observation/image_0``.

Source: tensorflow/datasets, ``core/proto/feature.proto``; google-research/rlds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armillary.core.errors import FormatError
from armillary.core.files import read_json
from armillary.data.sources.counted_steps import MAX_WIDTH

FEATURES = "features.json"
OBSERVATION, ACTION = "steps/observation/", "steps/action"
_DEEPEST, _MOST = 16, 10_000
_NUMBERS = ("float", "int", "uint", "bool", "bfloat")


@dataclass(frozen=True)
class Leaf:
    """What one key of the records holds.

    Attributes:
        kind: ``image``, ``tensor``, ``text``, or ``other``, which is not read.
        shape: of one step; None for a side that may be of any length.
        dtype: of its values.
    """

    kind: str
    shape: tuple[int | None, ...] = ()
    dtype: str = ""

    @property
    def width(self) -> int:
        """How many numbers a step has, if it is a vector or a number; else 0."""
        numbers = self.kind == "tensor" and self.dtype.startswith(_NUMBERS)
        if not numbers or len(self.shape) > 1:
            return 0
        wide = self.shape[0] if self.shape else 1
        return wide if wide is not None and wide <= MAX_WIDTH else 0


@dataclass(frozen=True)
class Chosen:
    """Which keys become what.

    Attributes:
        cameras: keys of the colour pictures.
        state: keys of the body's numbers, and how many each has.
        actions: the same of the actions.
        instruction: key of the instruction; empty where there is none.
        left_out: sentences about observations that are not read.
    """

    cameras: tuple[str, ...]
    state: Mapping[str, int]
    actions: Mapping[str, int]
    instruction: str
    left_out: tuple[str, ...]


def features_beside(file: Path) -> Path:
    """Return the features.json of a TFRecord: of its folder, or the only one that ends so.

    Raises:
        FormatError: there is none, or several.
    """
    if (file.parent / FEATURES).is_file():
        return file.parent / FEATURES
    found = sorted(file.parent.glob(f"*{FEATURES}"))
    if len(found) == 1:
        return found[0]
    several = f"{len(found)} lie beside it ({', '.join(f.name for f in found[:3])})"
    raise FormatError(
        f"{file}: needs the {FEATURES} that TensorFlow Datasets wrote beside it, and "
        f"{several if found else 'there is none'}; copy the one of this dataset into its folder."
    )


def read_features(path: Path) -> Chosen:
    """Return what is read of the episodes that a features.json describes.

    Raises:
        FormatError: it is no features.json, describes no steps, or nothing that can be read.
    """
    features = read_json(path)
    leaves: dict[str, Leaf] = {}
    for key, leaf in _leaves(features, "", _DEEPEST, str(path)):
        if len(leaves) >= _MOST:
            raise FormatError(f"{path}: describes more than {_MOST} features; refused.")
        leaves[key] = leaf
    if not any(key.startswith("steps/") for key in leaves):
        raise FormatError(
            f"{path}: describes no 'steps'; RLDS was expected, a dataset of episodes whose 'steps' "
            "hold 'observation' and 'action'."
        )
    chosen = _chosen(leaves)
    if not chosen.cameras and not chosen.state:
        raise FormatError(
            f"{path}: its 'steps/observation' has neither colour pictures nor vectors of numbers."
        )
    return chosen


def _chosen(leaves: Mapping[str, Leaf]) -> Chosen:
    seen = {key: leaf for key, leaf in leaves.items() if key.startswith(OBSERVATION)}
    cameras = tuple(key for key, leaf in seen.items() if _is_colour(leaf))
    words = {key for key, leaf in leaves.items() if "language" in key or leaf.kind == "text"}
    state = {key: leaf.width for key, leaf in seen.items() if leaf.width and key not in words}
    acts = {k: f for k, f in leaves.items() if k == ACTION or k.startswith(f"{ACTION}/")}
    instructions = [key for key in leaves if key in words and key.endswith("instruction")]
    odd = [key for key in seen if key not in {*cameras, *state, *words}]
    odd += [key for key, leaf in acts.items() if not leaf.width]
    left_out = tuple(f"{key} is left out: {_why(leaves[key])}." for key in odd)
    actions = {key: leaf.width for key, leaf in acts.items() if leaf.width}
    return Chosen(cameras, state, actions, next(iter(sorted(instructions)), ""), left_out)


def _is_colour(leaf: Leaf) -> bool:
    return leaf.kind == "image" and leaf.dtype == "uint8" and leaf.shape[2:] == (3,)


def _why(leaf: Leaf) -> str:
    shape = "x".join("?" if side is None else str(side) for side in leaf.shape)
    if leaf.kind == "image":
        return f"a picture of {shape} {leaf.dtype}, where colour of 8 bits is read"
    if leaf.kind == "tensor":
        return f"{shape or 'one'} {leaf.dtype}, where vectors of at most {MAX_WIDTH} are read"
    return "neither picture, numbers nor text"


def _leaves(node: Any, key: str, deeper: int, where: str) -> Iterator[tuple[str, Leaf]]:
    """Yield the keys below a feature, and what they hold."""
    if not isinstance(node, Mapping) or not deeper:
        raise _unknown(where, key)
    if "featuresDict" in node:
        for name, child in _mapping(
            _mapping(node["featuresDict"], where, key).get("features"), where, key
        ).items():
            yield from _leaves(child, f"{key}/{name}" if key else name, deeper - 1, where)
    elif "sequence" in node and key == "steps":
        steps = _mapping(node["sequence"], where, key)
        yield from _leaves(steps.get("feature"), key, deeper - 1, where)
    elif "pythonClassName" not in node:
        raise _unknown(where, key)
    else:
        yield key, _leaf(node, where, key)


def _leaf(node: Mapping[str, Any], where: str, key: str) -> Leaf:
    for kind in ("image", "tensor"):
        if kind in node:
            meta = _mapping(node[kind], where, key)
            shape, dtype = _shape(meta, where, key), str(meta.get("dtype", ""))
            plain = meta.get("encoding", "none") in ("none", "")
            text = kind == "tensor" and dtype in ("string", "object")
            known = "text" if text else kind if plain else "other"
            return Leaf(known, shape, dtype)
    return Leaf("text" if "text" in node else "other")


def _shape(meta: Mapping[str, Any], where: str, key: str) -> tuple[int | None, ...]:
    sides = _mapping(meta.get("shape", {}), where, key).get("dimensions", [])
    try:
        numbers = [int(side) for side in sides]
    except (TypeError, ValueError) as error:
        raise _unknown(where, key) from error
    return tuple(number if number > 0 else None for number in numbers)


def _mapping(node: Any, where: str, key: str) -> Mapping[str, Any]:
    if not isinstance(node, Mapping):
        raise _unknown(where, key)
    return node


def _unknown(where: str, key: str) -> FormatError:
    return FormatError(
        f"{where}: {key or 'its top'!r} is no feature that is known here; a {FEATURES} as "
        "TensorFlow Datasets 4 writes it was expected."
    )

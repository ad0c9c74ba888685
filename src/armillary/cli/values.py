"""Values: how one word of the command line becomes a number, and the sentence where it does not."""

from __future__ import annotations

import math
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

VALUES = ConstructorRegistry()


@VALUES.primitive_rule
def whole_number(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
    """Read a whole number; anything else is refused in plain words."""
    if kind.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: _number(int, words[0], "a whole number"),
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


@VALUES.primitive_rule
def number(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[float] | None:
    """Read a finite number; anything else is refused in plain words."""
    if kind.type is not float:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="FLOAT",
        instance_from_str=lambda words: _number(float, words[0], "a number"),
        is_instance=lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


@VALUES.primitive_rule
def optional(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Read ``T | None`` as T; the word None stays None."""
    kinds = get_args(kind.type) if get_origin(kind.type) in (Union, UnionType) else ()
    if len(kinds) != 2 or NoneType not in kinds:
        return None
    inner = next(one for one in kinds if one is not NoneType)
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(inner, kind.markers))
    if isinstance(spec, UnsupportedTypeAnnotationError) or spec.nargs != 1 or spec.choices:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=spec.metavar,
        instance_from_str=lambda words: (
            None if words == ["None"] else spec.instance_from_str(words)
        ),
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: (
            ["None"] if value is None else spec.str_from_instance(value)
        ),
    )


def _number(kind: type[Any], word: str, wanted: str) -> Any:
    try:
        value = kind(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"takes {wanted}; got {word!r}")
    return value

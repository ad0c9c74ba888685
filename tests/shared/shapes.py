"""Shapes: which calls ``--jaxtyping-packages`` in ``pyproject.toml`` checks.

It wraps every function, and one in five has an annotation with a shape. The others are pyrefly's.
To wrap them, too, doubled the time of the tests, so they are left as they are.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import jaxtyping
from jaxtyping import AbstractArray

_SHAPED = re.compile(r"\b(?:Bool|Float|Int|Num|Shaped|UInt)\d*\[")
_NAME = re.compile(r"\b[A-Z]\w*\b")
_jaxtyped = jaxtyping.jaxtyped


def where_shaped(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return ``jaxtyping.jaxtyped`` for functions and dataclasses that have a shape to check."""

    def wrap(made: Any) -> Any:
        return _jaxtyped(made, typechecker=typechecker) if has_shape(made) else made

    return wrap


def has_shape(made: Any) -> bool:
    """Say whether a function, property or dataclass has an annotation with a shape.

    Annotations are text, since all files import ``annotations`` from ``__future__``.
    """
    if inspect.isclass(made):
        made = made.__init__
    if isinstance(made, property):
        made = made.fget
    made = getattr(made, "__func__", made)
    known = getattr(made, "__globals__", {})
    return any(_shaped(hint, known) for hint in getattr(made, "__annotations__", {}).values())


def _shaped(hint: Any, known: Mapping[str, Any]) -> bool:
    if not isinstance(hint, str) or _SHAPED.search(hint):
        return True
    # a name for an array with a shape, such as ``Picture``
    named = (known.get(name) for name in _NAME.findall(hint))
    return any(inspect.isclass(one) and issubclass(one, AbstractArray) for one in named)

"""Changing: frozen settings with some fields replaced by dotted name, every value checked.

changed(recipe, {"model.frame_skip": 5, "objective.variance": 4})
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from armillary.core.errors import ConfigError, unknown_name

# Fields whose name in stored settings is another than the one that is given.
_STORED = {"finetune": "settling"}


def changed(settings: Any, dotted: Mapping[str, Any]) -> Any:
    """Return nested frozen settings with some fields replaced.

    Args:
        settings: a frozen dataclass.
        dotted: values by dotted name, e.g. ``{"model.frame_skip": 5}``.

    Raises:
        ConfigError: there is no such field, or a value of another kind than the field's.
    """
    known = [item.name for item in fields(settings)]
    given = {stored: name for name, stored in _STORED.items()}
    shown = [given.get(name, name) for name in known]
    hints = typing.get_type_hints(type(settings))
    values: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in dotted.items():
        head, _, rest = name.partition(".")
        head = head if head in known else _STORED.get(head, head)
        if head not in known:
            raise unknown_name("setting", name, shown)
        if rest:
            parts.setdefault(head, {})[rest] = value
        else:
            values[head] = _checked(name, value, hints[head])
    for head, inner in parts.items():
        whole = values.get(head, getattr(settings, head))
        if not is_dataclass(whole):
            name = f"{head}.{next(iter(inner))}"
            raise ConfigError(f"The setting {head!r} has no parts, so there is no {name!r}.")
        # all at once: fields that are right together may not be so one after the other
        values[head] = changed(whole, inner)
    return replace(settings, **values) if values else settings


def _checked(name: str, value: Any, hint: Any) -> Any:
    if not _fits(value, hint):
        raise ConfigError(f"The setting {name!r} takes {_said(hint)}; got {value!r}.")
    return float(value) if hint is float else value


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is typing.Literal:
        return value in parts
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, parts[0]) for item in value)
    if origin is not None:
        return isinstance(value, origin)
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    if hint is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, hint)


def _said(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if origin is tuple:
        return f"a list of {_said(parts[0])}"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(hint, str(getattr(hint, "__name__", hint)))

"""Settings as a command line or a manifest tells them, brought to their declared types.

Both know numbers, text, true and false, and lists: a list becomes a tuple, a whole number a float
where one is declared, one number both ends of a pair, one name a tuple of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, get_args, get_origin

from armillary.core.errors import ConfigError

_WORDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    tuple[int, int]: "a whole number, or two of them",
    tuple[float, float]: "a number, or two of them (lowest, highest)",
    tuple[str, ...]: "names",
}


def as_declared(
    owner: str, declared: Mapping[str, Any], chosen: Mapping[str, Any]
) -> dict[str, Any]:
    """Return settings with the types that they are declared with.

    Args:
        owner: whose settings they are, for the sentence.
        declared: type of each setting, of ``_WORDS``; what is not there passes as it is, and so
            does what has another type.
        chosen: settings by name.

    Raises:
        ConfigError: a setting of another type.
    """
    return {
        name: _fitted(owner, name, declared[name], value) if declared.get(name) in _WORDS else value
        for name, value in chosen.items()
    }


def _fitted(owner: str, name: str, kind: Any, value: Any) -> Any:
    if get_origin(kind) is not tuple:
        parts, kinds = [value], [kind]
    else:
        parts = list(value) if isinstance(value, list | tuple) else [value]
        of, last = get_args(kind)
        kinds = [of] * (len(parts) if last is ... else 2)
        parts = parts * 2 if len(parts) == 1 < len(kinds) else parts
    if len(parts) != len(kinds) or not all(map(_is_a, parts, kinds)):
        raise ConfigError(f"{owner}: {name} takes {_WORDS[kind]}, got {value!r}.")
    fitted = [of(part) for of, part in zip(kinds, parts, strict=True)]
    return tuple(fitted) if get_origin(kind) is tuple else fitted[0]


def _is_a(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, {int: Integral, float: Real}.get(kind, kind))  # numpy's, too

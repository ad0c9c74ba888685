"""Shapes: what a JSON document may hold, said once, for the check and for the published schema.

Objects are closed: an unknown field is refused, so nothing can travel unseen.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from armillary.core.errors import FormatError

_LARGEST = 2**53 - 1
DRAFT = "https://json-schema.org/draft/2020-12/schema"


class Kind(ABC):
    """A kind of value."""

    @abstractmethod
    def check(self, value: Any, where: str) -> None:
        """Check a value.

        Raises:
            FormatError: it is of another kind.
        """

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema (2020-12)."""


@dataclass(frozen=True)
class Text(Kind):
    """Text of at most ``most`` characters, of the choices or the pattern where there are some."""

    most: int = 500
    choices: tuple[str, ...] = ()
    pattern: str = ""

    def check(self, value: Any, where: str) -> None:
        """Check a value."""
        if not isinstance(value, str) or len(value) > self.most:
            raise _wrong(where, f"text of at most {self.most} characters", value)
        if self.choices and value not in self.choices:
            raise _wrong(where, f"one of {', '.join(self.choices)}", value)
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise _wrong(where, f"text like {self.pattern}", value)

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        if self.choices:
            return {"enum": list(self.choices)}
        pattern = {"pattern": f"^(?:{self.pattern})$"} if self.pattern else {}
        return {"type": "string", "maxLength": self.most, **pattern}


def Hex(digits: int) -> Text:  # noqa: N802
    """Return lower-case hexadecimal of so many digits."""
    return Text(digits, pattern=f"[0-9a-f]{{{digits}}}")


def Name(most: int = 80) -> Text:  # noqa: N802
    """Return a name that can be a file's: letters, digits, dot, dash, underscore."""
    return Text(most, pattern=r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def Decimal(most: int = 40) -> Text:  # noqa: N802
    """Return a decimal number as text, e.g. ``0.125``."""
    return Text(most, pattern=r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


def Time() -> Text:  # noqa: N802
    """Return a UTC time, e.g. ``2026-11-25T17:30:00Z``."""
    return Text(20, pattern=r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z")


@dataclass(frozen=True)
class Whole(Kind):
    """An integer from ``least`` to ``most``."""

    least: int = 0
    most: int = _LARGEST

    def check(self, value: Any, where: str) -> None:
        """Check a value."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not self.least <= value <= self.most:
            raise _wrong(where, f"an integer from {self.least} to {self.most}", value)

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Number(Kind):
    """A finite number from ``least`` to ``most``; only in files that are no claim."""

    least: float
    most: float

    def check(self, value: Any, where: str) -> None:
        """Check a value."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not self.least <= value <= self.most:
            raise _wrong(where, f"a number from {self.least:g} to {self.most:g}", value)

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        return {"type": "number", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Flag(Kind):
    """True or false."""

    def check(self, value: Any, where: str) -> None:
        """Check a value."""
        if not isinstance(value, bool):
            raise _wrong(where, "true or false", value)

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Nullable(Kind):
    """Null, or something."""

    kind: Kind

    def check(self, value: Any, where: str) -> None:
        """Check a value."""
        if value is not None:
            self.kind.check(value, where)

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        return {"anyOf": [{"type": "null"}, self.kind.schema()]}


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of ``least`` to ``most`` items of one kind."""

    kind: Kind
    most: int
    least: int = 0

    def check(self, value: Any, where: str) -> None:
        """Check a value."""
        if not isinstance(value, list) or not self.least <= len(value) <= self.most:
            raise _wrong(where, f"a list of {self.least} to {self.most} items", value)
        for place, item in enumerate(value):
            self.kind.check(item, f"{where}[{place}]")

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        items = {"minItems": self.least, "maxItems": self.most, "items": self.kind.schema()}
        return {"type": "array", **items}


@dataclass(frozen=True)
class MapOf(Kind):
    """An object with at most ``most`` values of one kind under names."""

    kind: Kind
    most: int
    name: Text = field(default_factory=lambda: Text(200))

    def check(self, value: Any, where: str) -> None:
        """Check a value."""
        if not isinstance(value, dict) or len(value) > self.most:
            raise _wrong(where, f"an object of at most {self.most} values", value)
        for name, item in value.items():
            self.name.check(name, f"{where}: name")
            self.kind.check(item, f"{where}.{name}")

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        limits = {"maxProperties": self.most, "propertyNames": self.name.schema()}
        return {"type": "object", **limits, "additionalProperties": self.kind.schema()}


@dataclass(frozen=True)
class Anything(Kind):
    """Any object; whoever knows what it is checks it."""

    def check(self, value: Any, where: str) -> None:
        """Check a value."""
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        return {"type": "object"}


@dataclass(frozen=True)
class Fields(Kind):
    """An object with exactly these fields; those under ``optional`` may be missing."""

    required: Mapping[str, Kind]
    optional: Mapping[str, Kind] = field(default_factory=dict)

    def check(self, value: Any, where: str) -> None:
        """Check a value."""
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        known = {**self.required, **self.optional}
        if unknown := sorted(set(value) - set(known)):
            raise FormatError(f"{where}: unknown field {unknown[0][:80]!r}; {_list(known)}.")
        if missing := sorted(set(self.required) - set(value)):
            raise FormatError(f"{where}: the field {missing[0]!r} is missing.")
        for name, item in value.items():
            known[name].check(item, f"{where}.{name}")

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        known = {**self.required, **self.optional}
        return {
            "type": "object",
            "properties": {name: kind.schema() for name, kind in known.items()},
            "required": sorted(self.required),
            "additionalProperties": False,
        }


def published(kind: Kind, title: str, address: str) -> dict[str, Any]:
    """Return a kind as a JSON Schema document of its own."""
    return {"$schema": DRAFT, "$id": address, "title": title, **kind.schema()}


def _list(known: Mapping[str, Kind]) -> str:
    return f"known: {', '.join(sorted(known)) or 'none'}"


def _wrong(where: str, wanted: str, value: Any) -> FormatError:
    came = repr(value)
    return FormatError(f"{where}: {wanted} was expected, got {came[:80]}.")

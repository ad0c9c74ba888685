"""Rules: named checks with a severity, in a table that says which of them nothing else replaces.

A check says that something holds, does not hold, or cannot be decided here. An error decides the
verdict, a warning is only told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from armillary.core.errors import ArmillaryError, MissingExtraError

Severity = Literal["error", "warning"]
FAULT = "The check itself failed"


@dataclass(frozen=True)
class Said:
    """What a check found.

    Attributes:
        ok: whether it holds; None where it cannot be decided here.
        detail: a sentence.
        values: numbers behind it, for JSON.
    """

    ok: bool | None
    detail: str
    values: dict[str, Any] | None = None


@dataclass(frozen=True)
class Rule:
    """One thing that was checked.

    Attributes:
        name: its name.
        severity: an ``error`` decides the verdict, a ``warning`` is only told.
        ok: whether it held; None where it cannot be decided here.
        detail: a sentence.
        level: of verification.
        values: numbers behind it.
    """

    name: str
    severity: Severity
    ok: bool | None
    detail: str
    level: int
    values: dict[str, Any] | None = None


@dataclass(frozen=True)
class Check:
    """A rule before it is applied.

    Attributes:
        name: its name.
        level: 0 to 4.
        run: finds out.
        severity: of the rule.
        needed: whether some attack is caught by this rule alone; the attack suite shows it.
        about: what it holds against, in one line, for the documentation.
    """

    name: str
    level: int
    run: Callable[[Any], Said]
    severity: Severity = "error"
    needed: bool = True
    about: str = ""


def holds(detail: str, **values: Any) -> Said:
    """Say that it holds."""
    return Said(True, detail, values or None)


def broken(detail: str, **values: Any) -> Said:
    """Say that it does not hold."""
    return Said(False, detail, values or None)


def unknown(detail: str, **values: Any) -> Said:
    """Say that it cannot be decided here."""
    return Said(None, detail, values or None)


def same(what: str, claimed: Any, found: Any) -> Said:
    """Say whether what is claimed is what was found; the first difference is named."""
    if claimed == found and type(claimed) is type(found):
        return holds(f"{what}: as computed here.")
    return broken(f"{what}: {_difference(claimed, found)}")


def apply(check: Check, case: Any) -> Rule:
    """Apply a check. What it cannot read or draw again does not hold."""
    try:
        said = check.run(case)
    except MissingExtraError as error:
        said = unknown(str(error))
    except ArmillaryError as error:
        said = broken(str(error))
    except Exception as error:  # a stranger's files: what nobody thought of decides nothing
        said = unknown(unexpected(error))
    return Rule(check.name, check.severity, said.ok, said.detail, check.level, said.values)


def unexpected(error: Exception) -> str:
    """Return the sentence for an error that is a fault of the check, not of what it checks."""
    return (
        f"{FAULT} ({type(error).__name__}: {str(error)[:200]}); please report it with this folder."
    )


def first(problems: Iterable[str], fine: str) -> Said:
    """Say the first problem, and how many follow; or that all is fine."""
    found = list(problems)
    if not found:
        return holds(fine)
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    return broken(f"{found[0]}{more}")


def _difference(claimed: Any, found: Any, where: str = "") -> str:
    if isinstance(claimed, dict) and isinstance(found, dict):
        for name in sorted({*claimed, *found}):
            if claimed.get(name) != found.get(name):
                return _difference(claimed.get(name), found.get(name), f"{where}.{name}")
    if isinstance(claimed, list) and isinstance(found, list) and len(claimed) == len(found):
        for place, (one, other) in enumerate(zip(claimed, found, strict=True)):
            if one != other:
                return _difference(one, other, f"{where}[{place}]")
    named = f"{where.lstrip('.')} is " if where else ""
    return f"{named}claimed as {str(claimed)[:80]}, found as {str(found)[:80]}."

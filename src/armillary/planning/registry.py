"""Registry: the planners by name. A new planner is one file and one line here."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

from armillary.core.errors import unknown_name
from armillary.core.protocols import Planner
from armillary.core.settings import as_declared
from armillary.planning.cem import CEM
from armillary.planning.gradient import Gradient
from armillary.planning.icem import ICEM
from armillary.planning.mppi import MPPI

PLANNERS: dict[str, Any] = {
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "gradient": Gradient,
}


def make_planner(name: str, **overrides: Any) -> Planner:
    """Return a planner by name.

    Args:
        name: a key of ``PLANNERS``.
        overrides: fields of its config that differ from the default.

    Raises:
        ConfigError: as ``planner_config`` does.
    """
    config = planner_config(name, **overrides)
    return PLANNERS[name](config)


def planner_config(name: str, **overrides: Any) -> Any:
    """Return all settings of a planner, those at their default included.

    Args:
        name: a key of ``PLANNERS``.
        overrides: fields of its config that differ from the default.

    Raises:
        ConfigError: an unknown planner or field (with the nearest name), or a value of another
            type or out of range.
    """
    if name not in PLANNERS:
        raise unknown_name("planner", name, PLANNERS)
    kind = PLANNERS[name]
    known = {field.name for field in fields(kind.Config)}
    for field in overrides:
        if field not in known:
            raise unknown_name(f"setting of the {name} planner", field, known)
    return kind.Config(**as_declared(name, get_type_hints(kind.Config), overrides))

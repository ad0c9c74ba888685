"""Planning: the flags that say how a model decides, the same in every command that plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tyro.conf import UseAppendAction

from armillary.cli.parse import Command, settings_of

if TYPE_CHECKING:
    from armillary.planning import Planning


@dataclass(frozen=True, kw_only=True)
class SearchFlags(Command):
    """Flags of a search (fields of ``planning.Planning``)."""

    planner: str = "icem"
    """Planner: cem, icem, mppi or gradient."""
    plan: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the planner, e.g. --plan length=16."""

    def planning(self, **more: int) -> Planning:
        """Return the value; ``more`` are fields that the command has flags for."""
        from armillary.planning import Planning

        return Planning(self.planner, settings_of(self.plan, "--plan"), **more)


@dataclass(frozen=True, kw_only=True)
class PlanningFlags(SearchFlags):
    """Flags of any way to decide."""

    planner: str = ""
    """direct: the model's goal policy acts, without a search.
    guided: try the goal policy in the model first, and take the way that ends best.
    cem, icem, mppi or gradient: search without it.
    Default: guided if the model has a goal policy, else icem.
    A setting of a search (--plan, --replan) also means icem."""

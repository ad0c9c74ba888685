"""Planning: how a model decides, as one value. It is declared here and nowhere else.

The default is the same in every world. Nothing in it is a setting of a particular one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_type_hints

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.settings import as_declared
from armillary.planning.guided import GuidedConfig
from armillary.planning.registry import PLANNERS, make_planner, planner_config

DIRECT, GUIDED, SEARCH = "direct", "guided", "icem"
# The two that need a goal policy, and those that need none.
WAYS: tuple[str, ...] = (DIRECT, GUIDED, *PLANNERS)
_REMEMBERED = 4  # model steps: tried in Reacher (docs/concepts/planning.md)


@dataclass(frozen=True)
class Planning:
    """How a model decides.

    Attributes:
        planner: ``direct``: the model's goal policy acts, without a search, and looks at every
            world step. ``guided``: the goal policy is tried in the model first, at every world
            step, too. A key of ``PLANNERS``: a search without it, at model steps. Empty:
            ``guided`` for a model with a goal policy, else ``icem``.
        settings: fields of the planner's config that differ from its default.
        history: model steps of latents and actions that the predictor gets as memory, in a search
            without a goal policy; 0 for 4, since a picture shows no speed.
        replan: model steps that are executed before the next decision.

    Raises:
        ConfigError: an unknown planner or field of its config (with the nearest name), a value out
            of range, or a setting that has no effect on this planner.
    """

    planner: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    history: int = 0
    replan: int = 1

    def __post_init__(self) -> None:
        if self.planner and self.planner not in WAYS:
            raise unknown_name("planner", self.planner, WAYS)
        counts = {name: getattr(self, name) for name in ("history", "replan")}
        for (name, count), least in zip(counts.items(), (0, 1), strict=True):
            if count < least:
                raise ConfigError(f"{name} must be at least {least}; got {count}.")
        usual = {one.name: one.default for one in fields(self)} | {"settings": {}}
        heeded = {
            DIRECT: (),
            GUIDED: ("settings",),
        }.get(self.planner, ("settings", "history", "replan"))
        if self.planner == GUIDED:
            guided_config(self.settings)
        elif self.planner != DIRECT:
            make_planner(self.planner or SEARCH, **self.settings)
        unused = [
            name
            for name in ("settings", *counts)
            if name not in heeded and getattr(self, name) != usual[name]
        ]
        if unused:
            raise ConfigError(
                f"With {f'the planner {self.planner}' if self.planner else 'no planner named'}, "
                f"{', '.join(unused)} has no effect. Leave it out, or choose another planner."
            )

    @property
    def remembered(self) -> int:
        """Model steps that a search without a goal policy remembers; 1 for the other planners.

        A guided search has a ``history`` among its settings.
        """
        return self.history or (_REMEMBERED if self.planner in PLANNERS else 1)

    def fitting(self, goal_policy: bool) -> Planning:
        """Return the same with a planner named, for a model with a goal policy or without.

        Where a setting of a search is given, the empty name is a search.
        """
        if self.planner:
            return self
        chosen = GUIDED if goal_policy and self == Planning() else SEARCH
        return replace(self, planner=chosen)

    def with_all_settings(self) -> Planning:
        """Return the same with each setting of its planner named, those at their default, too."""
        if self.planner == GUIDED:
            return replace(self, settings=asdict(guided_config(self.settings)))
        if self.planner in PLANNERS:
            config = planner_config(self.planner, **self.settings)
            return replace(self, settings=asdict(config))
        return self


def guided_config(settings: Mapping[str, Any]) -> GuidedConfig:
    """Return the settings of a guided search.

    Args:
        settings: fields of ``GuidedConfig`` that differ from the default.

    Raises:
        ConfigError: an unknown field, or a value of another type or out of range.
    """
    known = {one.name for one in fields(GuidedConfig)}
    for name in settings:
        if name not in known:
            raise unknown_name("setting of the guided planner", name, known)
    return GuidedConfig(**as_declared("guided", get_type_hints(GuidedConfig), settings))

"""Recipe: everything that decides a model but the data, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, get_type_hints

from armillary.core.errors import unknown_name
from armillary.core.settings import as_declared
from armillary.models import JEPAConfig
from armillary.training import TrainConfig
from armillary.training.log import Tracker


@dataclass(frozen=True)
class Recipe(TrainConfig):
    """A whole training run.

    Attributes:
        model: shape of the model; action_width and proprio_width are taken from the data, and
            frame_skip where it is 0.
        held_out: share of the episodes that is kept for the held-out loss.
        tracker: where numbers go besides log.jsonl.
    """

    model: JEPAConfig = field(default_factory=JEPAConfig)
    held_out: float = 0.1
    tracker: Tracker = "none"


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    """Return a recipe with other values, those of a part given as a mapping.

    changed(tabletop(), steps=500, optimizer={"lr": 3e-4})

    Args:
        recipe: what to start from.
        changes: new values by the names of its fields.

    Raises:
        ConfigError: a field that the recipe does not have, or a value that cannot be.
    """
    return _changed(recipe, changes, "")


def _changed(part: Any, changes: Mapping[str, Any], where: str) -> Any:
    names = [each.name for each in fields(part)]
    for name in changes:
        if name not in names:
            raise unknown_name("recipe field", f"{where}{name}", [f"{where}{n}" for n in names])
    parts = {
        name: _changed(getattr(part, name), value, f"{where}{name}.")
        for name, value in changes.items()
        if isinstance(value, Mapping) and is_dataclass(getattr(part, name))
    }
    hints = get_type_hints(type(part))
    return replace(part, **as_declared("recipe", hints, {**changes, **parts}))

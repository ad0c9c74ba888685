"""Recipe: everything that decides a model but the data, as one frozen value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from armillary.models import JEPAConfig
from armillary.training import TrainConfig
from armillary.training.log import Tracker

# streams that a batch and a cache name differently
_RECORDED_AS = {"depth_m": "depth"}


def recorded_names(streams: Iterable[str]) -> list[str]:
    """Return the names in a cache of streams that are named as in a batch."""
    return [_RECORDED_AS.get(name, name) for name in streams]


@dataclass(frozen=True)
class Recipe(TrainConfig):
    """A whole training run.

    Attributes:
        model: shape of the model; action_width and proprio_width are taken from the data, and
            frame_skip where it is 0.
        held_out: share of the episodes that is held out. Of a single episode, its last 20 % at
            least, where both parts are long enough.
        tracker: where numbers go besides log.jsonl.
    """

    model: JEPAConfig = field(default_factory=JEPAConfig)
    held_out: float = 0.1
    tracker: Tracker = "none"


def shortened(recipe: Recipe, steps: int) -> Recipe:
    """Return the recipe with other steps of training, and as large a share of fine-tuning.

    So many are taken, however little is recorded (``passes`` 0).

    Args:
        recipe: any.
        steps: of the first stage, at least 1.
    """
    updates = round(recipe.settling.steps * steps / recipe.steps)
    finetune = replace(recipe.settling, steps=updates, passes=0.0)
    return replace(recipe, steps=steps, passes=0.0, settling=finetune)

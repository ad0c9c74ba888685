"""Exercise 6, a question of understanding: which of two courses of action led here?

A model sees the first step of a clip and the actions of two clips. It predicts the last step under
both. It is right where its own actions lead nearer to what followed. A tie is half right, so a
model that ignores actions has 50 %. It needs no line: the function is the suite.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from armillary.core.errors import ShapeError
from armillary.core.protocols import WorldModel
from armillary.core.values import Batch


@dataclass(frozen=True)
class Led:
    """What was found.

    Attributes:
        right: share of clips, 0..1; a tie counts as one half.
        chance: what a model without an idea has.
        n: clips.
    """

    right: float
    chance: float
    n: int


@torch.no_grad()
def which_actions_led_here(model: WorldModel, clips: Batch) -> Led:
    """Ask of every clip whether its own actions or those of the next clip led to its last step.

    Args:
        model: any that keeps the protocol.
        clips: at least two, of at least two steps, with actions.

    Raises:
        ShapeError: fewer clips or steps, or no actions.
    """
    count, steps = clips.valid.shape
    if clips.actions is None or count < 2 or steps < 2:
        raise ShapeError("This question needs two clips of two steps or more, with actions.")
    first = {name: values[:, :1] for name, values in clips.streams.items()}
    here = model.encode(Batch(first, None, clips.valid[:, :1]))
    later = model.encode(clips).tokens[:, -1]
    plans = torch.stack([clips.actions, clips.actions.roll(1, 0)], 1)
    ends = model.rollout(here, plans)[:, :, -1]
    own, other = (ends - later[:, None]).square().flatten(2).sum(-1).unbind(1)
    right = (own < other).double() + 0.5 * (own == other).double()
    return Led(float(right.mean()), 0.5, count)

"""Consensus: the present that the last looks agree on most.

One look can be far off: what a hole of the depth swallowed is where somebody guesses it to be.
Looks that follow each other are wrong in other ways each. So each is foreseen to the present by the
actions that came after it, and of what they say the one is taken that is least far from all others
(the medoid). It is what one of the looks says, where a mean would be what none says; and of three
looks or more, one that is far off moves it little.

Axes: B batch, T looks, N tokens, D latent width, A action width.
Source: medoids as in Kaufman and Rousseeuw 1987, of estimates that are brought to one moment.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.protocols import WorldModel
from armillary.core.values import Latent


@torch.no_grad()
def consensus(model: WorldModel, latent: Latent) -> Latent:
    """Return the present as the looks agree on it, with nothing before it.

    Of two looks, and of others that agree as well, it is the later. It takes T (T - 1) / 2
    predictor steps.

    Args:
        model: foresees, from each look alone.
        latent: the last T looks, with the actions between them.
    """
    looks, said = latent.tokens, latent.tokens[:, :1]
    between = [] if latent.actions is None else latent.actions.unbind(1)
    for look, action in zip(looks.unbind(1)[1:], between, strict=True):
        said = torch.cat([_led_on(model, said, action), look[:, None]], 1)
    flat = said.flatten(2)
    apart = torch.cdist(flat, flat).sum(2)
    # argmin takes the first of those that are as near
    agreed = said.shape[1] - 1 - apart.flip(1).argmin(1)
    return Latent(said[torch.arange(len(said)), agreed][:, None])


def consensus_steps(looks: int) -> int:
    """Return the predictor steps that ``consensus`` takes for so many looks."""
    return looks * (looks - 1) // 2


def _led_on(
    model: WorldModel, states: Float[Tensor, "B T N D"], actions: Float[Tensor, "B A"]
) -> Float[Tensor, "B T N D"]:
    """Return each state one step later, all after the same action."""
    batch, count = states.shape[:2]
    plans = actions[:, None].expand(-1, count, -1).reshape(batch * count, 1, 1, -1)
    later = model.rollout(Latent(states.flatten(0, 1)[:, None]), plans)
    return later[:, 0, 0].unflatten(0, (batch, count))

"""Agreement: a guessed latent against its target, where only the guess is moved.

The target gets no gradient, so that a guess gets better by saying more, and not by the two latents
becoming alike and empty; what else keeps latents from shrinking (variance, SIGReg) still counts.

Source: BYOL (2006.07733) and SimSiam (2011.10566): a head on one side, stop-gradient and cosine on
the other; across sensors with cosine as in Concerto (2510.23607).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity


def agreement_loss(
    guessed: Float[Tensor, "*B Z"], target: Float[Tensor, "*B Z"]
) -> Float[Tensor, ""]:
    """Return one minus the mean cosine between guesses and targets.

    Args:
        guessed: gradients go through it.
        target: no gradient does.

    Convention: 0 for the same direction, 1 for none in common, 2 for the opposite.
    """
    return 1 - cosine_similarity(guessed.float(), target.detach().float(), dim=-1).mean()

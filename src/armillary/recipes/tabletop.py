"""The earlier recipe of the demo, which ``armillary train`` no longer offers: use ``world``.

``pushing.py`` and ``spatial_arms.py`` still build on it, until their numbers are made again. It
sees colour and depth of a table, and the pusher's velocity is the action.

Found by short runs: with SIGReg alone, and with variance over the batch alone, the encoder first
filled itself with what never changes in an episode (linear R2 of the pusher 0.0 and 0.3 after
0.6 M frames). Variance asked *within* clips of half the tokens, and a strong inverse-dynamics
weight, brought the pusher to 0.9 after 0.25 M frames. What rests (the object) needs a driver of its
own, the view from above: as a map of heights and colours it brought the object to 0.85-0.88, as a
density per hue to 0.98, and reaching from 76-88 % to 97 % (two weights of it, one seed each).
With variance weights of 1 the latents shrank to 3 effective dimensions, and plans ended 3 to 5 cm
beside the goal; hence 4.

Steps: of 1,000 and 1,650, the read-outs differ by less than their intervals (one training each).
But 1,000 steps, with a search of 48 plans and 4 rounds, reached 75 of 100 goals; this reached 85.
"""

from __future__ import annotations

from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig
from armillary.recipes.recipe import Recipe
from armillary.training import AugmentConfig, ObjectiveConfig, OptimizerConfig


def tabletop() -> Recipe:
    """Return the recipe that the demo trained until ``world`` replaced it."""
    return Recipe(
        steps=1650,
        batch_size=64,
        clip_length=8,
        ema_decay=0.998,
        checkpoint_every=500,
        model=JEPAConfig(
            sensors=("rgb", "points"),
            encoder=EncoderConfig(
                patch_hidden=112,
                patch_width=32,
                hidden=384,
                keypoints=8,
                tokens=8,
                width=32,
            ),
            predictor=PredictorConfig(memory=192, hidden=256),
        ),
        optimizer=OptimizerConfig(lr=2e-3, weight_decay=0.02),
        augment=AugmentConfig(mirror=0.5, mirrored_actions=(0,)),
        objective=ObjectiveConfig(
            rollout=1.0,
            variance=4.0,
            covariance=0.5,
            motion_variance=4.0,
            motion_covariance=0.4,
            inverse_dynamics=4.0,
            bird_view=4.0,
            rollout_steps=4,
            motion_margin=0.5,
            motion_share=0.5,
        ),
    )

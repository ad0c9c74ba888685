"""Recipe ``two_rooms``: pictures only; wall and door are easy to see, the agent is not.

The inverse-dynamics and within-clip terms are what brings the agent into the latent (EB-JEPA's
ablation: 97 % with inverse dynamics, 1 % without). Not so in finer pictures whose view is asked of
the latent: see ``two_rooms_eb``.
"""

from __future__ import annotations

from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig
from armillary.recipes.recipe import Recipe
from armillary.training import ObjectiveConfig, OptimizerConfig


def two_rooms() -> Recipe:
    """Return a recipe for the two-rooms world."""
    return Recipe(
        steps=4000,
        batch_size=64,
        clip_length=10,
        ema_decay=0.998,
        model=JEPAConfig(
            sensors=("rgb",),
            encoder=EncoderConfig(tokens=8, width=32),
            predictor=PredictorConfig(memory=192, hidden=256),
        ),
        optimizer=OptimizerConfig(lr=2e-3),
        objective=ObjectiveConfig(
            variance=1.0,
            covariance=0.1,
            motion_variance=1.0,
            motion_covariance=0.1,
            inverse_dynamics=4.0,
            rollout_steps=6,
        ),
    )

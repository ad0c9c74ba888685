"""Recipe ``video``: plain video without actions.

Nothing but the within-clip terms forces what moves into the latent here (the slow-feature
collapse); see ``armillary.objectives.temporal``.
"""

from __future__ import annotations

from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig
from armillary.recipes.recipe import Recipe
from armillary.training import ObjectiveConfig, OptimizerConfig


def video() -> Recipe:
    """Return a recipe for folders of videos."""
    return Recipe(
        steps=1500,
        batch_size=32,
        clip_length=12,
        ema_decay=0.995,
        model=JEPAConfig(
            sensors=("rgb",),
            encoder=EncoderConfig(tokens=4, width=32),
            predictor=PredictorConfig(memory=192, hidden=256),
            action_width=0,
        ),
        optimizer=OptimizerConfig(lr=1e-3, weight_decay=1e-2),
        objective=ObjectiveConfig(
            variance=1.0,
            covariance=0.1,
            motion_variance=1.0,
            motion_covariance=0.1,
            motion_share=1.0,
            rollout_steps=8,
            rollout_decay=0.9,
        ),
    )

"""Recipe ``intuition``: a model that keeps hidden things in mind, from the ``stage`` world.

    armillary record stage --episodes 4000 --steps 32 --out data/stage
    armillary train intuition --data data/stage --out runs/intuition

Clips are whole episodes, so that the memory is asked for what went behind a screen when it comes
out. What moves is brought into the latent by variance within the clip (a plain recipe encodes the
screens, which never change, and its loss falls to nothing while every concept stays at chance);
where it is by the view of the picture, and what it looks like by the glimpse of it. At the end the
encoder stands still and the predictor learns on: what surprises the model is then what it could not
know, and not what it had no time to learn.
"""

from __future__ import annotations

from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig
from armillary.recipes.recipe import Recipe
from armillary.training import ObjectiveConfig, OptimizerConfig, SettlingConfig


def intuition() -> Recipe:
    """Return a recipe for watching the stage."""
    return Recipe(
        steps=4000,
        batch_size=16,
        clip_length=32,
        ema_decay=0.998,
        threads=1,
        model=JEPAConfig(
            sensors=("rgb",),
            encoder=EncoderConfig(tokens=8, width=32),
            predictor=PredictorConfig(memory=384, hidden=384),
        ),
        optimizer=OptimizerConfig(method="muon", lr=2e-3),
        settling=SettlingConfig(steps=1500),
        objective=ObjectiveConfig(
            variance=4.0,
            covariance=0.5,
            motion_variance=4.0,
            motion_covariance=0.4,
            picture_view=8.0,
            glimpse=6.0,
            bird_view_cells=16,
            picture_view_every=4,
            rollout_steps=8,
            rollout_decay=0.85,
        ),
    )

"""A model that sees the point world's pictures and a goal prior on it, both untrained."""

from armillary.models import (
    EncoderConfig,
    GoalPrior,
    GoalPriorConfig,
    JEPAConfig,
    PredictorConfig,
    untrained_prior,
)

CONFIG = JEPAConfig(
    sensors=("rgb",),
    encoder=EncoderConfig(image_size=8, patch=4, patch_hidden=8, hidden=8, tokens=2, width=4),
    predictor=PredictorConfig(memory=8, hidden=8),
)


def prior(seed: int = 0) -> GoalPrior:
    shape = GoalPriorConfig(CONFIG.latent_width, 2, hidden=8, embedding=16)
    return untrained_prior(shape, seed)

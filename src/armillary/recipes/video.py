"""Recipe ``video``: plain video without actions, small enough for one minute of it.

Nothing but the within-clip terms forces what moves into the latent here (the slow-feature
collapse); see ``armillary.objectives.temporal``. Tuned on the first 556 frames of 795 of
pedestrians under a camera that stands still (learned on 400 of them, judged on the other 156, in
two folds; results/real_video.json):

- Time: steps of half a second (5 frames of 10 per second; ``model.frame_skip`` 0 takes as many
  frames as that is at any rate) and clips of 8 s. In clips of 4 s, variance within the clip was
  met by latents that swing once per clip, learned by heart.
- Weight of the rollout: at 1, latents became so slow that copying them was nearly right at 0.5 s,
  at 0.3 prediction and copy drew there; at 0.05 they say more of what moves, and prediction won
  at every horizon in both folds. Smaller was not tried.
- Size: 128 latent dimensions and millions of weights fitted the training clips 50 times better
  than the held-out ones; 32 dimensions and a small memory brought both together. For hours of
  video, or moving cameras, raise them together with the steps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from armillary.core.errors import TrainingError
from armillary.data import open_dataset
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig
from armillary.recipes.clips import at_rate, check_clips, clip_frames
from armillary.recipes.recipe import Recipe
from armillary.training import ObjectiveConfig, OptimizerConfig

_NAMED = 20  # files in one sentence


def video() -> Recipe:
    """Return a recipe for plain video, made for about a minute of one camera."""
    return Recipe(
        steps=400,
        batch_size=32,
        clip_length=16,
        ema_decay=0.99,
        model=JEPAConfig(
            sensors=("rgb",),
            encoder=EncoderConfig(patch_hidden=64, patch_width=8, hidden=128, tokens=4, width=8),
            predictor=PredictorConfig(memory=48, hidden=64),
            frame_skip=0,
            action_width=0,
        ),
        # decoupled decay is lr times this: 1 takes a third of a weight in 400 steps, 0.01 nothing
        optimizer=OptimizerConfig(lr=1e-3, weight_decay=1.0),
        objective=ObjectiveConfig(
            rollout=0.05,
            variance=1.0,
            covariance=0.3,
            motion_variance=1.0,
            motion_covariance=0.1,
            motion_margin=0.5,
            motion_share=1.0,
            rollout_steps=4,
            rollout_decay=0.9,
        ),
    )


def video_advice(data: Path) -> list[str]:
    """Say whether ``armillary train video`` can learn from a dataset of videos, and what to do.

    Args:
        data: folder of the dataset.
    """
    dataset = open_dataset(data)
    recipe = at_rate(video(), dataset.fps)
    short = np.flatnonzero(dataset.lengths < clip_frames(recipe))
    lines = []
    if len(short):
        names = [f"{dataset.read_low(int(index)).source}" for index in short[:_NAMED]]
        more = f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
        clip_s = clip_frames(recipe) / dataset.fps
        lines.append(
            f"too short for a clip of armillary train video ({clip_s:.1f} s): "
            f"{', '.join(names)}{more}"
        )
    try:
        check_clips(recipe, dataset.lengths, dataset.fps, str(data))
    except TrainingError as error:
        lines.append(f"armillary train video would refuse: {error}")
    return lines

"""Recipe ``world``: one recipe for any recording.

No setting names a world, a colour, a background or a camera. What differs between recordings
follows from them by rules:

    sensors     colour where there is any; depth as points in the world where lens and pose are
                known, else as a channel of the picture; clouds; laser ranges
    model step  0.1 s where actions are recorded, 0.5 s for plain video
    action law  inverse dynamics, where actions are recorded
    clips       of 8 model steps; the predictor is fine-tuned on whole episodes, up to 16 steps

The objective has four parts. Prediction: rollouts of four steps in latent space. Spread: variance
and covariance over the batch and within clips, so that what moves gets in. Action law: the action
follows from two neighbouring latents. Visual words: where each kind of local appearance is, so
that what rests gets in (``objectives/visual_words.py``). Then the encoder stands still, the latent
is put into coordinates in which slow features count (``training/slow_latent.py``), and the
predictor learns on alone, half of the time from clips in which much changes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from armillary.data import Dataset
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig
from armillary.models.config import STREAMS_OF, Sensor
from armillary.recipes.recipe_config import Recipe
from armillary.training import AugmentConfig, ObjectiveConfig, OptimizerConfig, SettlingConfig

_STEP_S = 0.1  # seconds of a model step where actions are recorded
_VIDEO_STEP_S = 0.5  # and where none are
_LONGEST = 16  # model steps of a clip that the predictor is fine-tuned on
# Of what a recording has, the first of each row is seen.
_PREFERRED: tuple[tuple[Sensor, ...], ...] = (
    ("rgb",),
    ("points", "points_camera", "depth"),
    ("cloud",),
    ("scan",),
)
_RECORDED = {"depth_m": "depth"}


def world() -> Recipe:
    """Return the recipe; what it leaves to the data is chosen by ``adapted``."""
    return Recipe(
        steps=1400,
        batch_size=64,
        clip_length=8,
        ema_decay=0.998,
        checkpoint_every=500,
        model=JEPAConfig(
            sensors=(),
            frame_skip=0,
            encoder=EncoderConfig(
                patch_hidden=112, patch_width=32, hidden=384, keypoints=8, tokens=8, width=32
            ),
            predictor=PredictorConfig(memory=192, hidden=256),
        ),
        optimizer=OptimizerConfig(lr=2e-3, weight_decay=0.02),
        objective=ObjectiveConfig(
            rollout=1.0,
            variance=4.0,
            covariance=0.5,
            motion_variance=4.0,
            motion_covariance=0.4,
            inverse_dynamics=4.0,
            visual_words=8.0,
            rollout_steps=4,
            motion_margin=0.5,
            motion_share=0.5,
        ),
        augment=AugmentConfig(shift_px=4),
        settling=SettlingConfig(
            steps=1000,
            batch_size=64,
            clips=16_384,
            rollout_steps=4,
            slow_latent=True,
            plain=0.1,
            lively=0.5,
        ),
    )


def adapted(recipe: Recipe, dataset: Dataset) -> Recipe:
    """Return the recipe with what it leaves to the data: frame skip 0, and no sensors.

    Args:
        recipe: any; what it sets itself is kept.
        dataset: that it is trained on.
    """
    acts = dataset.has_actions
    model, objective, settling = recipe.model, recipe.objective, recipe.settling
    if not model.frame_skip:
        step_s = _STEP_S if acts else _VIDEO_STEP_S
        model = replace(model, frame_skip=max(1, round(step_s * dataset.fps)))
    if not model.sensors:
        model = replace(model, sensors=sensors_of(_streams(dataset)))
        if not acts:
            objective = replace(objective, inverse_dynamics=0.0)
        if {*model.sensors} <= {"scan"}:
            objective = replace(objective, visual_words=0.0)
        if not settling.clip_length:
            most = (int(np.median(dataset.lengths)) - 1) // model.frame_skip + 1
            length = max(recipe.clip_length, min(most, _LONGEST))
            settling = replace(settling, clip_length=length)
    return replace(recipe, model=model, objective=objective, settling=settling)


def sensors_of(streams: set[str]) -> tuple[Sensor, ...]:
    """Return which sensors a model sees of recorded streams.

    Args:
        streams: their names; ``intrinsics`` where the lens is known.
    """
    chosen = []
    for choices in _PREFERRED:
        for sensor in choices:
            if {_RECORDED.get(name, name) for name in STREAMS_OF[sensor]} <= streams:
                chosen.append(sensor)
                break
    return tuple(chosen)


def _streams(dataset: Dataset) -> set[str]:
    lens = any(
        dataset.camera(0, name).intrinsics is not None
        for name, kind in dataset.cameras.items()
        if kind in ("rgb", "depth")
    )
    return {*dataset.streams} | ({"intrinsics"} if lens else set())

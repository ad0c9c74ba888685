"""Recipe ``world``: one recipe for any recording.

No setting names a world, a colour, a background or a camera. What differs between recordings
follows from them by rules:

    sensors     colour where there is any; depth as points in the world where lens and pose are
                known, else as a channel of the picture; clouds; laser ranges
    colours     whitened over the pixels of the recording
    model step  0.1 s, or shorter where the picture changes too much (``recipes/frame_skip.py``)
    action law  inverse dynamics, where actions are recorded
    words       visual words, except where a laser is all that is seen
    picture     reconstruction, where nothing is seen from above (``training/terms/views.py``)
    clips       8 to 12 model steps; the predictor is fine-tuned on whole episodes, of up to 32
    batch       512 model steps
    updates     each recorded frame is seen 40 times, and 100 times while the predictor is
                fine-tuned, in 200 to 1,400 and 100 to 4,000 updates (held-out frames are counted
                as if they were seen)

The objective has five parts. Prediction: rollouts of four steps in latent space. Spread: variance
and covariance over the batch and within clips, so that what moves gets in. It asks for a small
spread. Asked for more, latents grew during the whole training, and when it ended they had few
dimensions. Action law: actions follow from two latents, one and four steps apart. Visual words:
where each kind of local appearance is, so that what rests gets in (``objectives/visual_words.py``).
Reconstruction: a small picture of what stands out, so that it is also known how a thing is turned.
Then the encoder is frozen, and the predictor is fine-tuned. Where actions vary in most clips, half
of them are clips in which much changes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from armillary.core.errors import ConfigError, DatasetError
from armillary.data import Dataset
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig
from armillary.models.config import STREAMS_OF, Sensor
from armillary.models.trunks import CELLS, Pin, open_trunk, pinned
from armillary.recipes.clips import clip_count
from armillary.recipes.frame_skip import frame_skip_for, longest_frame_skip
from armillary.recipes.recipe_config import Recipe, recorded_names
from armillary.training import AugmentConfig, FinetuneConfig, ObjectiveConfig, OptimizerConfig
from armillary.training.terms.views import view_of

_SHORTEST = 8  # model steps of a clip
# Frames of one clip resemble each other. With clips of 12 in place of 32 a batch holds 42 ways in
# place of 16. On PushT, visual words were learned 2.4 times as fast: docs/concepts/recipe.md.
_LONGEST = 12
_LONGEST_FINE_TUNING = 32  # what is out of sight is remembered for so long
_LEFT_OUT = 0.1  # share of the episodes that may be shorter than a clip
_BATCH = 512  # model steps of a batch
# Fewest updates, however little was recorded. With 115 and 50 on 389 frames the predictor had not
# begun to learn: its error was 12 times that of a copy.
_LEAST_STEPS, _LEAST_FINE_TUNING = 200, 100
# Of what a recording has, the first of each row is seen.
_PREFERRED: tuple[tuple[Sensor, ...], ...] = (
    ("rgb",),
    ("points", "points_camera", "depth"),
    ("cloud",),
    ("scan",),
)
# Visual words ask where things are in a picture or a cloud; these show neither.
_WITHOUT_PLACES: set[Sensor] = {"scan", "proprio", "pose"}


def world() -> Recipe:
    """Return the recipe; what it leaves to the data is chosen by ``adapted``."""
    return Recipe(
        steps=1400,
        passes=40.0,
        batch_size=0,
        clip_length=0,
        ema_decay=0.998,
        checkpoint_every=500,
        model=JEPAConfig(
            sensors=(),
            frame_skip=0,
            encoder=EncoderConfig(
                patch_hidden=112,
                patch_width=32,
                hidden=384,
                keypoints=8,
                tokens=8,
                width=32,
                stem="convolutions",
                colours="whitened",
            ),
            predictor=PredictorConfig(memory=256, hidden=512, layers=3),
        ),
        optimizer=OptimizerConfig(lr=2e-3, weight_decay=0.02),
        objective=ObjectiveConfig(
            rollout=300.0,  # of latents whose spread is 0.05: 0.75 per share of the variance
            variance=4.0,
            covariance=0.5,
            motion_variance=4.0,
            motion_covariance=0.4,
            inverse_dynamics=4.0,
            inverse_dynamics_delta=1.0,
            visual_words=8.0,
            reconstruction=8.0,
            rollout_steps=4,
            rollout_starts=0.25,
            variance_margin=0.05,
            motion_margin=0.03,
            motion_share=0.5,
        ),
        augment=AugmentConfig(shift_px=4),
        settling=FinetuneConfig(
            steps=4000,
            passes=100.0,
            batch_size=0,
            clips=8192,
            rollout_steps=4,
            lively=0.5,
            forget=0.5,
            starts=0.25,
        ),
    )


def adapted(recipe: Recipe, dataset: Dataset) -> Recipe:
    """Return the recipe with what it leaves to the data filled in.

    Args:
        recipe: any; what it sets itself is kept.
        dataset: that it is trained on.

    Raises:
        DatasetError: the dataset has no stream that a model can see.
        CheckpointError: the trunk that the recipe names is not on this machine.
    """
    recipe = with_trunk(recipe)
    lengths = dataset.lengths
    usual = int(np.quantile(lengths, _LEFT_OUT, method="lower")) if len(lengths) else 0
    skip = recipe.model.frame_skip or frame_skip_for(dataset)
    found = adapted_to(recipe, _streams(dataset), dataset.fps, dataset.has_actions, usual, skip)
    shortest = recipe.clip_length or _SHORTEST
    for length in range(found.clip_length, shortest - 1, -1):  # shorter until a batch is filled
        batch = recipe.batch_size or _clips_of_a_batch(length)
        found = replace(found, clip_length=length, batch_size=batch)
        if clip_count(found, lengths) >= batch:
            return _bounded(found, int(lengths.sum()))
        found = replace(found, settling=recipe.settling)
    clips = clip_count(found, lengths)
    if not recipe.batch_size and clips >= 2:
        found = replace(found, batch_size=clips)
    return _bounded(found, int(lengths.sum()))


def with_trunk(recipe: Recipe) -> Recipe:
    """Return a recipe with what its trunk decides: its weights' digest, and the pictures' size.

    Pictures are not varied, because the trunk sees each of them once.

    Args:
        recipe: any; one without a trunk is returned as it is.

    Raises:
        ConfigError: there is no such trunk, or pictures are to be varied.
        CheckpointError: it is not on this machine, and cannot be fetched.
        MissingExtraError: the extra ``trunks`` is not installed.
    """
    model = recipe.model
    if not model.trunk:
        return recipe
    if replace(recipe.augment, shift_px=0) != AugmentConfig():
        raise ConfigError(
            "With model.trunk pictures are not varied, because the trunk sees each of them once; "
            "leave --augment out."
        )
    name = pinned(model.trunk).name
    if Path(name).expanduser().is_dir():
        name = str(Path(name).expanduser().resolve())  # others may stand in another folder
    facts = open_trunk(str(replace(pinned(model.trunk), name=name)), download=True).facts
    encoder = model.encoder
    if model.size == "tiny":
        side = facts.image_size
        encoder = replace(encoder, image_size=side, patch=side // CELLS, stem="patches")
    model = replace(
        model,
        trunk=str(Pin(name, facts.sha256)),
        trunk_channels=facts.channels,
        trunk_width=min(model.trunk_width, facts.channels),
        encoder=encoder,
    )
    return replace(recipe, model=model, augment=AugmentConfig())


def _bounded(recipe: Recipe, recorded: int) -> Recipe:
    """Return the recipe with no more updates than its passes over the recorded steps take.

    More are learned by heart: docs/concepts/recipe.md, "Rules".
    """
    finetune = recipe.settling
    seen = recipe.batch_size * recipe.clip_length
    clips = finetune.batch_size or recipe.batch_size / finetune.starts
    seen_fine_tuning = clips * (finetune.clip_length or recipe.clip_length)
    steps = _updates(recipe.steps, recipe.passes * recorded / max(seen, 1), _LEAST_STEPS)
    more = _updates(
        finetune.steps, finetune.passes * recorded / max(seen_fine_tuning, 1), _LEAST_FINE_TUNING
    )
    # without a bound from here on, so that a recipe that is adapted stays as it is
    finetune = replace(finetune, steps=more, passes=0.0)
    return replace(recipe, steps=steps, passes=0.0, settling=finetune)


def _updates(most: int, wanted: float, least: int) -> int:
    return min(most, max(round(wanted), least)) if wanted else most


def _clips_of_a_batch(length: int) -> int:
    return max(_BATCH // length, 2)


def adapted_to(
    recipe: Recipe, streams: set[str], fps: float, acts: bool, usual: int = 0, frame_skip: int = 0
) -> Recipe:
    """Return the recipe with what it leaves to the data filled in, for data of a description.

    A recipe leaves the model step to the data by ``frame_skip`` 0, what is seen by naming no
    sensors, and its clips by ``clip_length`` and ``batch_size`` 0. If it leaves either of the first
    two, losses that the data cannot give are left out. The reconstruction always is, where what is
    seen has no picture.

    Args:
        recipe: any; what it sets itself is kept.
        streams: names of what is recorded; ``intrinsics`` where the lens is known.
        fps: recorded steps per second.
        acts: whether actions are recorded.
        usual: recorded steps that most episodes have; 0 where it is not known.
        frame_skip: recorded steps of a model step, where the recipe has 0; 0 for 0.1 s.

    Raises:
        DatasetError: there is no stream that a model can see.
    """
    model, objective = recipe.model, recipe.objective
    if not (model.frame_skip and model.sensors):
        if not model.frame_skip:
            model = replace(model, frame_skip=frame_skip or longest_frame_skip(fps))
        if not model.sensors:
            sensors = sensors_of(streams)
            if not sensors:
                raise DatasetError(
                    "The recipe needs rgb, depth, points or lidar, and the dataset has "
                    f"{', '.join(sorted(streams)) or 'no stream'}. Record one of these, or name "
                    "what the model sees with --model.sensors."
                )
            model = replace(model, sensors=sensors)
        if not acts:
            objective = replace(objective, inverse_dynamics=0.0)
        if {*model.sensors} <= _WITHOUT_PLACES:
            objective = replace(objective, visual_words=0.0)
    if view_of(model) != "picture":
        objective = replace(objective, reconstruction=0.0)
    steps = (usual - 1) // model.frame_skip + 1
    length = recipe.clip_length or min(max(steps, _SHORTEST), _LONGEST)
    batch = recipe.batch_size or _clips_of_a_batch(length)
    finetune, whole = recipe.settling, min(steps, _LONGEST_FINE_TUNING)
    if whole > length and not (recipe.clip_length or finetune.clip_length or finetune.batch_size):
        clips = round(_clips_of_a_batch(whole) / finetune.starts)
        finetune = replace(finetune, clip_length=whole, batch_size=clips)
    return replace(
        recipe,
        model=model,
        objective=objective,
        clip_length=length,
        batch_size=batch,
        settling=finetune,
    )


def sensors_of(streams: set[str]) -> tuple[Sensor, ...]:
    """Return which sensors a model sees of recorded streams.

    Args:
        streams: their names; ``intrinsics`` where the lens is known.
    """
    chosen = []
    for choices in _PREFERRED:
        for sensor in choices:
            if {*recorded_names(STREAMS_OF[sensor])} <= streams:
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

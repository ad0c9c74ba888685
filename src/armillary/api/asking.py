"""Asking for the API: what a model knows, what surprises it, what it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.api.data import AnyPath, open_dataset
from armillary.api.progress import progress_of
from armillary.api.results import Probe, Rollout, Run, Surprise
from armillary.core.errors import ConfigError, ShapeError
from armillary.core.progress import Progress
from armillary.core.values import Episode, Latent
from armillary.data import Cache, Dataset
from armillary.models import JEPA
from armillary.services.asking import (
    clip_cache,
    probe_model,
    read_out_of,
    step_of,
    stride_of,
    surprise_clip,
    whole_episode,
)
from armillary.understanding.read_out import ReadOut
from armillary.zoo.finding import loaded

AnyModel = AnyPath | Run | JEPA


def probe(
    model: AnyModel,
    data: AnyPath | Dataset | Cache,
    *,
    targets: str | Sequence[str] = (),
    seed: int = 0,
    progress: bool | Progress | None = None,
) -> Probe:
    """Read positions and other truths from a model's latents, beside its controls.

        print(arm.probe(run, data))

    Args:
        model: a run, a model, a run or model folder, or a Hub repository id.
        data: a dataset with truth streams (a recording of a simulated world), or its folder.
        targets: names of truth streams; none takes all whose name ends in ``_xy``.
        seed: of the split by episode, the shuffled labels and the untrained weights.
        progress: as for ``record``.

    Returns:
        A mapping by target: R2 of the model, of an untrained encoder and of shuffled labels on
        held-out episodes (1 is perfect), and the mean error in the target's unit, mostly metres.

    Raises:
        CheckpointError: not a model.
        DatasetError: not a dataset, or one without truth, or with fewer than two episodes.
        ConfigError: an unknown target.
    """
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    with progress_of("preparing", progress) as bar:
        return Probe(probe_model(model, open_dataset(data), names, bar, seed))


def read_out(
    model: AnyModel,
    data: AnyPath | Dataset | Cache,
    target: str,
    *,
    episodes: int | None = None,
    seed: int = 0,
    progress: bool | Progress | None = None,
) -> ReadOut:
    """Fit a linear read-out of a recorded truth, for the cost of a plan.

        where = arm.read_out(run, data, "pusher_xy", episodes=20)

    Args:
        model: a run, a model, a run or model folder, or a Hub repository id.
        data: a dataset with truth streams, or its folder.
        target: name of the truth stream.
        episodes: whose labels it is fitted on; None takes all that are not held out.
        seed: of the split by episode.
        progress: as for ``record``.

    Returns:
        A function from latents [..., N D] to the truth [..., Y] in its unit, with ``r2`` and
        ``error`` on held-out episodes.

    Raises:
        CheckpointError: not a model.
        DatasetError: not a dataset, or one without truth, or with fewer than three episodes.
        ConfigError: an unknown target, or fewer than two episodes are asked for.
    """
    with progress_of("preparing", progress) as bar:
        return read_out_of(model, open_dataset(data), target, episodes, bar, seed)


def surprise(
    model: AnyModel,
    clip: AnyPath | Episode,
    out: AnyPath | None = None,
    *,
    normal: AnyPath | Dataset | Cache | None = None,
    progress: bool | Progress | None = None,
) -> Surprise:
    """Measure how surprised a model is at every step of a clip.

        found = arm.surprise(run, "out/table:3")

    Args:
        model: a run, a model, a run or model folder, or a Hub repository id.
        clip: ``"DATASET:EPISODE"``, a video file, or an episode such as ``data[3]``.
        out: folder for what was found; nothing is written without it.
        normal: dataset of normal life to calibrate on; else the other episodes of the dataset that
            the clip is named by, or the clip itself.
        progress: as for ``record``.

    Returns:
        Surprise of each model step, where 1 is usual in normal life, beside a baseline that
        predicts no change.

    Raises:
        CheckpointError: not a model.
        FormatError: neither a video file nor a dataset and an episode of it.
        DatasetError: the dataset is damaged or lacks the episode.
        ShapeError: the model needs streams that the clip does not have.
    """
    shown = clip if isinstance(clip, Episode) else Path(clip)
    folder = None if out is None else Path(out)
    calm = None if normal is None else open_dataset(normal)
    with progress_of("preparing", progress) as bar:
        found = surprise_clip(model, shown, folder, calm, bar)
    return Surprise(
        time_s=np.array(found.time_s),
        values=np.array(found.surprise),
        copy_last=np.array(found.copy_last),
        pixel_difference=np.array(found.pixel_difference),
        peak_step=found.peak_step,
        normal=found.normal,
        events=None if found.events is None else tuple(found.events),
        false_alarms_per_minute=found.false_alarms_per_minute,
    )


def rollout(
    model: AnyModel,
    clip: AnyPath | Episode,
    *,
    start: int = 0,
    actions: Float[np.ndarray, "L A"] | Float[Tensor, "L A"] | None = None,
    length: int | None = None,
    gradients: bool = False,
    progress: bool | Progress | None = None,
) -> Rollout:
    """Predict a clip from its first steps and its actions, and compare with what it shows.

        arm.rollout(run, "out/table:3")

    Args:
        model: a run, a model, a run or model folder, or a Hub repository id.
        clip: ``"DATASET:EPISODE"``, a video file, or an episode such as ``data[3]``.
        start: model steps up to this one are shown to the model; it predicts those after it.
        actions: other actions than the recorded ones, in the units of the data, one a model step
            (world steps of a model step side by side).
        length: L, model steps to predict; None for all that there are.
        gradients: keep the graph, so that the predictions can be differentiated.
        progress: as for ``record``.

    Returns:
        Predicted latents [L N D], and under the recorded actions their error step by step.

    Raises:
        ConfigError: no step is left after ``start``, or ``length`` is below 1 or too long.
        ShapeError: the actions have another width than the model's.
        ArmillaryError: as ``surprise``.
    """
    network = loaded(model)
    step_s = step_of(model, network)
    with progress_of("preparing", progress) as bar:
        cache, position = clip_cache(
            clip if isinstance(clip, Episode) else Path(clip), network, step_s, bar
        )
    named = clip.source if isinstance(clip, Episode) else str(clip)
    stride = stride_of(network, step_s, cache, named)
    batch = whole_episode(network, cache, position, stride)
    steps = batch.valid.shape[1]
    if not 0 <= start < steps:
        raise ConfigError(f"start must be a model step of the clip, 0 to {steps - 1}; got {start}.")
    left = steps - 1 - start if actions is None else len(actions)
    count = left if length is None else length
    if not 1 <= count <= left:
        raise ConfigError(
            f"A rollout needs a length of 1 to {left} model steps after step {start}; got {count}."
        )
    with nullcontext() if gradients else torch.no_grad():
        seen = network.encode(batch)
        before = None if seen.actions is None or not start else seen.actions[:, :start]
        shown = Latent(seen.tokens[:, : start + 1], before)
        plans = _plans(network, seen, start, count, actions)
        predicted = network.rollout(shown, plans)[0, 0]
    after = slice(start + 1, start + 1 + count)
    apart = torch.cdist(predicted.detach().flatten(1), seen.tokens[0].detach().flatten(1))
    pictures = batch.streams.get("rgb", cache_pictures(cache, position, stride))
    return Rollout(
        predicted=predicted,
        recorded=seen.tokens[0, after] if actions is None else None,
        before=seen.tokens[0, start],
        nearest=apart.argmin(1).numpy(),
        pictures=None if pictures is None else pictures[0].numpy(),
        start=start,
        step_s=stride / cache.fps,
    )


def cache_pictures(cache: Cache, position: int, stride: int) -> Tensor | None:
    """Return the colour pictures of a clip's model steps [1 T H W 3], seen by the model or not."""
    if "rgb" not in cache.arrays:
        return None
    begin, end = int(cache.starts[position]), int(cache.starts[position + 1])
    rgb = np.asarray(cache.arrays["rgb"][begin:end:stride])
    return torch.from_numpy(rgb.copy())[None]


def _plans(
    model: JEPA, seen: Latent, start: int, count: int, actions: np.ndarray | Tensor | None
) -> Float[Tensor, "1 1 L A"]:
    """Return the actions of a rollout as one plan; width 0 for a model of plain video."""
    width = model.config.action_width
    if actions is not None:
        plans = torch.as_tensor(actions, dtype=torch.float32)
        if plans.ndim != 2 or plans.shape[1] != width:
            raise ShapeError(
                f"The model takes actions [L {width}], one row a model step; got "
                f"{list(plans.shape)}."
            )
        return plans[None, None, :count]
    if not width:
        return seen.tokens.new_zeros(1, 1, count, 0)
    if seen.actions is None:
        raise ShapeError("The model takes actions, and the clip has none; pass actions=.")
    return seen.actions[:, None, start : start + count]

"""Real video without actions: does a model foresee pedestrians better than "they stand still"?

A complete run on one video file: ingest, cut into two stretches (the first to learn from, the
rest to judge on; no clip crosses the cut), train the recipe ``video`` once per seed, and ask for
foresight at fixed times ahead. Judged beside: copy-last, the training stretch's mean, a read-out
of the present, an untrained model, and the collapse diagnosis. Every seed is reported.

The space outside of the model is that of several frozen random encoders side by side: what one
random encoder happens to see is an accident, what four see is less so.

Axes: B clips, T steps, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.benchmark.machine import provenance
from armillary.comprehension import encode_frames, foresight
from armillary.core.errors import ConfigError
from armillary.core.files import write_json
from armillary.core.hashing import file_sha256
from armillary.core.progress import Progress, silent
from armillary.core.protocols import WorldModel
from armillary.core.values import Batch, Latent
from armillary.data import Cache, IngestOptions, ingest, open_dataset, prepare
from armillary.data.resize import MAX_SIDE
from armillary.models import JEPA, EncoderConfig, JEPAConfig, load_model, untrained
from armillary.objectives import diagnose_collapse
from armillary.recipes.clips import at_rate
from armillary.recipes.recipe import Recipe, fitted
from armillary.recipes.splice import SplicedWindows
from armillary.recipes.video import video
from armillary.training import TrainSummary, train

_DIGITS = 4


@dataclass(frozen=True)
class RealVideoConfig:
    """How the run is made and judged.

    Attributes:
        recipe: what is trained.
        seeds: one model each; all are reported.
        learn_share: share of the frames, from the first on, that is learned from.
        horizons_s: how far ahead, in seconds; whole model steps.
        history: model steps of context.
        block_s: length of a bootstrap block; half a minute of video holds few longer ones.
        rectangles: how often each training clip is spliced, see ``recipes.splice``.
        frozen_seeds: weights of the frozen random encoders; never those of a trained model.
    """

    recipe: Recipe = field(default_factory=video)
    seeds: tuple[int, ...] = (0, 1, 2)
    learn_share: float = 0.7
    horizons_s: tuple[float, ...] = (0.5, 1.0, 2.0)
    history: int = 4
    block_s: float = 2.0
    rectangles: int = 3
    frozen_seeds: tuple[int, ...] = (101, 102, 103, 104)

    def __post_init__(self) -> None:
        if not self.seeds or not 0 < self.learn_share < 1:
            raise ConfigError(
                "At least one seed and a learn_share between 0 and 1 are needed, got "
                f"{self.seeds} and {self.learn_share}."
            )


class FrozenEncoders:
    """Several untrained encoders side by side: only looks, and learns nothing.

    Args:
        image_size: side of the pictures.
        seeds: weights of each.
    """

    def __init__(self, image_size: int, seeds: tuple[int, ...]) -> None:
        shape = JEPAConfig(
            sensors=("rgb",), encoder=EncoderConfig(image_size=image_size), action_width=0
        )
        self._models = [untrained(shape, seed) for seed in seeds]

    def encode(self, batch: Batch) -> Latent:
        """Return the tokens of all encoders, one after another."""
        return Latent(torch.cat([model.encode(batch).tokens for model in self._models], 2))

    def rollout(
        self, latent: Latent, plans: Float[Tensor, "B S L A"]
    ) -> Float[Tensor, "B S L N D"]:
        """Return the last latent again and again: nothing is foreseen."""
        still = latent.tokens[:, None, -1:].expand(-1, plans.shape[2], -1, -1)
        return still[:, None].expand(-1, plans.shape[1], -1, -1, -1)


def real_video(
    source: Path,
    out: Path,
    config: RealVideoConfig | None = None,
    progress: Progress = silent,
    command: str = "",
) -> dict[str, Any]:
    """Learn from the first part of a video, judge on the rest, and write ``real_video.json``.

    Args:
        source: a video file.
        out: folder for dataset, cache, runs and the result; new or empty.
        config: how; None takes the defaults.
        progress: told while frames are read and after each training step.
        command: that does the same again, for the result.

    Returns:
        What was written: data, config, ``seeds`` with one entry per seed, and ``holds``: at which
        horizons copy-last is beaten, and by how many of the seeds.

    Raises:
        FormatError: not a video.
        DatasetError: too short for the horizons.
        ConfigError: a horizon that is not a whole number of steps, or ``out`` is in use.
    """
    config = config or RealVideoConfig()
    own_size = IngestOptions(max_side=MAX_SIDE)
    ingest(source, out / "dataset", "video", progress, own_size)
    dataset = open_dataset(out / "dataset")
    config = replace(config, recipe=at_rate(config.recipe, dataset.fps))
    size = config.recipe.model.encoder.image_size
    cache = prepare(dataset, size, out / "cache", progress)
    cut = round(config.learn_share * cache.num_frames)
    data = {
        "file": source.name,
        "sha256": file_sha256(source),
        "frames": cache.num_frames,
        "fps": cache.fps,
        "learned_from": [0, cut],
        "judged_on": [cut, cache.num_frames],
    }
    seeds = {str(seed): _one_seed(cache, cut, config, seed, out, progress) for seed in config.seeds}
    result = {
        **provenance(command, config.recipe.threads or torch.get_num_threads()),
        "data": data,
        "config": asdict(config),
        "holds": {space: _holds(seeds, space) for space in ("latent", "frozen")},
        "seeds": seeds,
    }
    write_json(out / "real_video.json", result)
    return result


def in_two(cache: Cache, cut: int) -> Cache:
    """Return a cache of one video as two episodes, before and from frame ``cut``."""
    return replace(
        cache,
        starts=np.array([0, cut, cache.num_frames], np.int64),
        episodes=np.repeat(cache.episodes[:1], 2),
    )


def _one_seed(
    cache: Cache, cut: int, config: RealVideoConfig, seed: int, out: Path, progress: Progress
) -> dict[str, Any]:
    """Train one model and judge it beside the untrained model of the same shape."""
    parts = in_two(cache, cut)
    recipe = fitted(replace(config.recipe, seed=seed), parts)
    folder = out / f"seed_{seed}"
    summary = _learn(parts, recipe, config.rectangles, folder, progress)
    trained, fresh = load_model(folder / "model"), untrained(recipe.model, seed)
    return {
        "training": _training(summary),
        "trained": _judge(trained, cache, cut, config),
        "untrained": _judge(fresh, cache, cut, config),
        "diagnosis": {
            "trained": _diagnose(trained, parts, recipe),
            "untrained": _diagnose(fresh, parts, recipe),
        },
    }


def _learn(
    parts: Cache, recipe: Recipe, rectangles: int, folder: Path, progress: Progress
) -> TrainSummary:
    """Train on the first part; the second is not even looked at."""
    length, stride = recipe.clip_length, recipe.model.frame_skip
    first = np.array([0], np.int64)
    windows = SplicedWindows(parts, first, length, stride, rectangles, recipe.seed)
    return train(recipe.model, recipe, windows, None, folder, progress=progress)


def _training(summary: TrainSummary) -> dict[str, Any]:
    return {
        "loss": round(summary.loss, _DIGITS),
        "seconds": round(summary.seconds, 1),
        "frames_per_s": round(summary.frames_per_s),
        "warnings": list(summary.warnings),
    }


def _judge(model: WorldModel, cache: Cache, cut: int, config: RealVideoConfig) -> dict[str, Any]:
    """Return foresight on the second part, by seconds ahead."""
    skip = config.recipe.model.frame_skip
    steps = [_steps(seconds, cache.fps, skip) for seconds in config.horizons_s]
    frozen = FrozenEncoders(cache.size[0], config.frozen_seeds)
    found = foresight(
        model,
        frozen,
        cache,
        range(cut),
        range(cut, cache.num_frames),
        steps,
        history=config.history,
        block=max(1, round(config.block_s * cache.fps)),
        frame_skip=skip,
    )
    return {
        str(seconds): _rounded(found[str(count)])
        for seconds, count in zip(config.horizons_s, steps, strict=True)
    }


def _steps(seconds: float, fps: float, skip: int) -> int:
    steps = seconds * fps / skip
    if abs(steps - round(steps)) > 1e-3 or steps < 1:
        raise ConfigError(
            f"{seconds} s ahead are {steps:.2f} model steps at {fps:g} frames per second and "
            f"frame_skip {skip}; choose whole steps."
        )
    return round(steps)


def _diagnose(model: JEPA, parts: Cache, recipe: Recipe) -> dict[str, Any]:
    """Return how much the latents of the second part say."""
    frames, _ = encode_frames(model, parts, np.array([1]))
    clip = np.arange(recipe.clip_length) * recipe.model.frame_skip
    first = np.arange(len(frames) - clip[-1])
    latents = torch.from_numpy(frames[first[:, None] + clip])
    found = diagnose_collapse(latents)
    return _rounded(asdict(found)) | {"warnings": list(found.warnings)}


def _holds(seeds: Mapping[str, Any], space: str) -> dict[str, str]:
    """Return, by seconds ahead, in how many seeds the interval of the gain is above zero."""
    trained = [entry["trained"] for entry in seeds.values()]
    return {
        seconds: f"{sum(t[seconds][space]['gain_interval'][0] > 0 for t in trained)} of "
        f"{len(trained)} seeds"
        for seconds in trained[0]
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return round(value, _DIGITS) if isinstance(value, float) else value

"""Real video: what does a recipe predict on recordings of others, beside baselines?

Each recording is one video. Its first part is trained on as ``armillary train`` does, and its last
part judges (``understanding/ahead.py``). What is finished in the folder is used again, and a
training that was stopped goes on from its newest checkpoint.

Axes: W windows, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.core.errors import ConfigError
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.progress import Bars, no_bars
from armillary.core.statistics import block_bootstrap_interval
from armillary.data import Cache, Dataset, ingest, open_dataset, prepare
from armillary.experiments.real_video.tracks import Tracks, read_tracks
from armillary.models import load_model
from armillary.models.config import config_values
from armillary.recipes.recipe import fitted, needed_streams, train_on
from armillary.recipes.recipe_config import Recipe
from armillary.recipes.time_split import in_two
from armillary.recipes.world import adapted, world
from armillary.understanding.ahead import errors_ahead, in_time, two_sides

_DIGITS = 4
# Of each space: who is compared, and with whom.
_COMPARED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "features": (
        ("model", "read", "place_ridge"),
        ("copy_last", "mean", "ridge", "constant_velocity", "no_latent", "place_ridge"),
    ),
    "latent": (("model",), ("copy_last", "mean", "ridge", "constant_velocity")),
    "positions": (
        ("model", "model_change"),
        ("copy_last", "copy_last_read", "mean", "ridge", "constant_velocity"),
    ),
}


@dataclass(frozen=True)
class Recording:
    """One video.

    Attributes:
        name: in the result.
        video: the file.
        tracks: file of tracked positions for its frames; None without.
    """

    name: str
    video: Path
    tracks: Path | None = None


@dataclass(frozen=True)
class RealVideoConfig:
    """How models are trained and judged.

    Attributes:
        recipe: what is trained; what it leaves to the data is filled in for each recording.
        seeds: one model each.
        held_out: share of the frames, up to the last, that judges.
        horizons_s: how far ahead, in seconds; the nearest whole model steps are taken.
        history: model steps that everybody sees before a prediction.
        block_s: length of a bootstrap block.
    """

    recipe: Recipe = field(default_factory=world)
    seeds: tuple[int, ...] = (0, 1, 2)
    held_out: float = 0.3
    horizons_s: tuple[float, ...] = (0.2, 0.5, 1.0)
    history: int = 4
    block_s: float = 2.0

    def __post_init__(self) -> None:
        if not self.seeds or not 0 < self.held_out < 1 or self.history < 2:
            raise ConfigError(
                "At least one seed, a held_out between 0 and 1 and a history of 2 or more are "
                f"needed, got {self.seeds}, {self.held_out} and {self.history}."
            )


def real_video(
    recording: Recording, out: Path, config: RealVideoConfig | None = None, bars: Bars = no_bars
) -> dict[str, Any]:
    """Train on the first part of a recording, once per seed, and judge on the rest.

    Args:
        recording: the video.
        out: folder for dataset, cache and runs.
        config: how; None takes the defaults.
        bars: makes a progress bar for a stage.

    Returns:
        By space (``horizons`` for frozen features, ``latent`` and, where tracked, ``positions``),
        horizon in seconds and contestant: ``mean`` and ``seeds``. Who is compared has ``gain_over``
        by baseline: the baseline's error minus its own (``mean``), ``interval95`` and in how many
        seeds the interval lies above zero (``seeds_above``).

    Raises:
        FormatError: not a video.
        DatasetError: too short, or positions that do not fit the video.
        ConfigError: a horizon is less than half of a model step.
    """
    config = config or RealVideoConfig()
    dataset = _dataset(recording, out / recording.name, bars)
    recipe = adapted(config.recipe, dataset)
    with bars("preparing") as progress:
        cache = prepare(dataset, recipe.model.encoder.image_size, out / "cache", progress)
    tracks = None if recording.tracks is None else read_tracks(recording.tracks, cache.num_frames)
    cut = cache.num_frames - round(config.held_out * cache.num_frames)
    parts = in_two(cache, cut)
    steps = in_time(config.horizons_s, cache.fps, recipe.model.frame_skip)
    if min(steps) < 1:
        raise ConfigError(
            f"{min(config.horizons_s)} s is less than half of a model step of "
            f"{recipe.model.frame_skip / cache.fps:.2g} s. Take later horizons or a smaller step."
        )
    errors = [
        _one_seed(replace(recipe, seed=seed), parts, out / recording.name, steps, config, tracks,
                  bars)
        for seed in config.seeds
    ]  # fmt: skip
    block = max(1, round(config.block_s * cache.fps))
    rows: dict[str, Any] = {}
    for space in errors[0][steps[0]]:
        of_space = [{ahead: one[ahead][space] for ahead in steps} for one in errors]
        rows["horizons" if space == "features" else space] = {
            f"{seconds:g}": {
                "steps": ahead,
                "ahead_s": round(ahead * recipe.model.frame_skip / cache.fps, _DIGITS),
                **_row([one[ahead] for one in of_space], *_COMPARED[space], block),
            }
            for seconds, ahead in zip(config.horizons_s, steps, strict=True)
        }
    return rows | {
        "seeds": list(config.seeds),
        "sha256": file_sha256(recording.video),
        "fps": cache.fps,
        "step_s": round(recipe.model.frame_skip / cache.fps, _DIGITS),
        "trained_on": [0, cut],
        "judged_on": [cut, cache.num_frames],
        "block_s": config.block_s,
        "history": config.history,
    }


def _dataset(recording: Recording, folder: Path, bars: Bars) -> Dataset:
    """Return the dataset of a video, made as ``armillary ingest`` makes it."""
    data = folder / "dataset"
    if not data.is_dir():
        with bars("ingesting") as progress:
            ingest(recording.video, data, "video", progress)
    return open_dataset(data)


def _one_seed(
    recipe: Recipe,
    parts: Cache,
    folder: Path,
    steps: Sequence[int],
    config: RealVideoConfig,
    tracks: Tracks | None,
    bars: Bars,
) -> dict[int, dict[str, dict[str, np.ndarray]]]:
    """Return errors by model steps ahead, space and contestant."""
    recipe = fitted(recipe, parts)
    cut = int(parts.starts[1])
    run = folder / f"run-{json_sha256([_what_decides(recipe), cut])[:10]}-{recipe.seed}"
    if not (run / "model").is_dir():
        with bars("training") as progress:
            resume = (run / "run.json").is_file()
            nothing = np.zeros(0, np.int64)
            train_on(parts, np.zeros(1, np.int64), nothing, recipe, run, resume, progress)
    model = load_model(run / "model")
    streams = needed_streams(recipe, parts)
    with bars("judging"):
        sides = two_sides(model, parts, cut, recipe.model.frame_skip, streams, config.history)
        places = None if tracks is None else tracks.positions
        block = max(1, round(config.block_s * parts.fps))
        return {ahead: errors_ahead(model, sides, ahead, places, block) for ahead in steps}


def _what_decides(recipe: Recipe) -> dict[str, Any]:
    others = ("seed", "log_every", "eval_every", "checkpoint_every", "threads", "tracker")
    return {name: value for name, value in config_values(recipe).items() if name not in others}


def _row(
    seeds: Sequence[Mapping[str, Float[np.ndarray, " W"]]],
    compared: tuple[str, ...],
    others: tuple[str, ...],
    block: int,
) -> dict[str, Any]:
    """Return the errors of one horizon, and the gains of who is compared."""
    row: dict[str, Any] = {"n": len(next(iter(seeds[0].values())))}
    for name in seeds[0]:
        each = [float(one[name].mean()) for one in seeds]
        row[name] = {
            "mean": _short(float(np.mean(each))),
            "seeds": [_short(value) for value in each],
        }
    for name in compared:
        row[name]["gain_over"] = {}
        for other in others:
            if other == name:
                continue
            gains = np.stack([one[other] - one[name] for one in seeds])
            interval = block_bootstrap_interval(gains.mean(axis=0), block)
            above = [block_bootstrap_interval(gain, block)[0] > 0 for gain in gains]
            row[name]["gain_over"][other] = {
                "mean": _short(gains.mean()),
                "interval95": [_short(end) for end in interval],
                "seeds_above": f"{sum(above)} of {len(above)}",
            }
    return row


def _short(value: float) -> float:
    return round(float(value), _DIGITS)

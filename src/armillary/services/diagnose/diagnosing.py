"""Diagnosing: a model and a dataset, as a person names them, to numbers, advice and a page."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from armillary.benchmark.machine import date
from armillary.core.errors import ConfigError, DatasetError
from armillary.core.files import storage_errors, write_json
from armillary.core.progress import Bars, no_bars
from armillary.data import Cache, open_dataset, split_episodes
from armillary.models import load_model
from armillary.recipes.diagnosis_record import DIAGNOSIS, diagnosis_record, in_metres
from armillary.recipes.recipe import Recipe, prepared
from armillary.recipes.splitting import known_split, model_streams
from armillary.recipes.time_split import as_trained, is_in_two
from armillary.report import write_report
from armillary.services.asking import step_of, stride_of
from armillary.services.diagnose.page import diagnosis_contents
from armillary.understanding.diagnosis import Diagnosis, diagnose
from armillary.understanding.evidence import Limits
from armillary.understanding.stretches import Stretch, cut, cut_in_time
from armillary.zoo.finding import find_model

PAGE = "diagnose.html"
_HELD_OUT_PART = 0.3  # the end of a recording that is one episode


@dataclass(frozen=True)
class Split:
    """What read-outs are fitted on, and what judges.

    Attributes:
        training: stretches to fit on.
        held_out: stretches that judge.
        judged_on: which they are, in words.
        warning: what keeps the numbers from being what they seem; empty for nothing.
    """

    training: list[Stretch]
    held_out: list[Stretch]
    judged_on: str
    warning: str = ""


def diagnose_model(
    model: str | Path,
    data: Path,
    out: Path | None = None,
    limits: Limits | None = None,
    bars: Bars = no_bars,
    command: str = "",
) -> dict[str, Any]:
    """Diagnose a model on the held-out episodes of a dataset.

    Args:
        model: model folder, run folder, or Hub repository id.
        data: folder of a dataset.
        out: folder for ``diagnose.json`` and ``diagnose.html``; None writes nothing.
        limits: how much is looked at.
        bars: makes a progress bar for a stage.
        command: what a person typed, for the page.

    Returns:
        The record, as ``armillary diagnose --json`` prints it.

    Raises:
        CheckpointError: not a model.
        DatasetError: the dataset cannot be read, lacks what the model sees or takes, has steps
            that do not fit the model's in time, or its episodes are too few or too short.
        ShapeError: its actions are not the model's.
        ConfigError: ``out`` is the dataset's folder.
        StorageError: ``out`` is not writable.
    """
    began = time.perf_counter()
    _check_out(out, data)
    folder = find_model(model)
    network = load_model(folder)
    with bars("preparing") as progress:
        cache = prepared(open_dataset(data), network.config, progress)
    cache = as_trained(folder, cache)
    streams = model_streams(network.config, cache)
    acts = network.config.action_width > 0
    if acts and not cache.action_width:
        raise DatasetError(
            f"{data}: has no actions, and the model takes {network.config.action_width} numbers "
            "per model step; diagnose it on a recording with actions."
        )
    skip = stride_of(network, step_of(model, network), cache, str(data))
    limits = limits or Limits()
    split = split_for(folder, cache, skip, limits.seed)
    with bars("diagnosing") as progress:
        found = diagnose(
            network, cache, split.training, split.held_out, skip, streams, acts, limits, progress
        )
    distances = in_metres(network, found, cache, limits)
    record = diagnosis_record(found, split.judged_on, distances)
    record |= {"model": str(model), "dataset": str(data), "date": date(), "command": command}
    record |= {"warning": split.warning, "seconds": round(time.perf_counter() - began, 1)}
    if out is not None:
        with bars("drawing"):
            _write(out, record, found, cache, skip)
    return record


def split_for(model: Path, cache: Cache, skip: int, seed: int) -> Split:
    """Return the split that a model's run has written down, or another by episode.

    Where nothing was held out, or nobody knows, episodes are drawn here, and the warning says so. A
    recording that is one episode is split in time: its last 30 % judge.

    Args:
        model: folder of the model.
        cache: prepared episodes.
        skip: frames in a model step.
        seed: of a split that is made here.
    """
    known = known_split(model, cache)
    if known is not None and len(known[1]):
        training, held_out = (cut(cache, episodes, skip) for episodes in known)
        described = f"{_counted(len(known[1]))} that were held out of the training"
        if is_in_two(cache):
            share = cache.lengths[1] / cache.num_frames
            described = f"the last {share:.0%} of the only episode, held out of the training"
        return Split(training, held_out, described)
    warning = _warning(model, cache, known)
    if cache.num_episodes == 1:
        parts = cut_in_time(cache, skip, _HELD_OUT_PART)
        described = f"the last {_HELD_OUT_PART:.0%} of the only episode"
        return Split(*parts, described, warning)
    share = Recipe().held_out
    episodes = split_episodes(cache.num_episodes, share, seed)
    training, held_out = (cut(cache, side, skip) for side in episodes)
    described = f"{_counted(len(episodes[1]))} drawn here (seed {seed}, a share of {share:g})"
    return Split(training, held_out, described, warning)


def _warning(model: Path, cache: Cache, known: tuple[np.ndarray, np.ndarray] | None) -> str:
    """Say why episodes that judge may be known to the model."""
    if known is None:
        return (
            f"{model}: no record (data.json of its run) says what was held out of this dataset; "
            "where the model was trained on it, some of the episodes that judge may be known to it."
        )
    if len(known[0]) == cache.num_episodes:
        return "The run trained on all episodes, so nothing here is held out."
    return (
        f"The run held out no episodes and trained on {len(known[0])} of the "
        f"{cache.num_episodes} here, so some of those that judge may be known to it."
    )


def _counted(episodes: int) -> str:
    return f"{episodes} episode{'' if episodes == 1 else 's'}"


def _check_out(out: Path | None, data: Path) -> None:
    if out is None:
        return
    if out.resolve().is_relative_to(data.resolve()):
        raise ConfigError(
            f"{out}: lies in the dataset, whose files are hashed; choose a folder outside {data}."
        )
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: a folder is wanted for --out, and a file stands there.")


def _write(out: Path, record: dict[str, Any], found: Diagnosis, cache: Cache, skip: int) -> None:
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    seconds = skip / cache.fps if cache.fps > 0 else 0.0
    contents = diagnosis_contents(record, found.evidence, cache, seconds)
    write_report(contents, out / PAGE)
    write_json(out / DIAGNOSIS, record)

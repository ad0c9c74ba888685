"""Asking: probe a model on a dataset, and measure its surprise over a clip.

Axes: B clips, T steps.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import UInt8

from armillary.core.errors import ConfigError, DatasetError, FormatError, unknown_name
from armillary.core.files import read_json, write_json
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.core.values import Batch, Episode
from armillary.data import (
    Cache,
    Dataset,
    IngestOptions,
    Windows,
    ingest,
    layout,
    open_dataset,
    prepare,
    split_episodes,
)
from armillary.data.layout import first_of_kind
from armillary.models import JEPA, untrained
from armillary.recipes.recipe import RUN_DATA, point_sampling, prepared
from armillary.services.surprise_page import write_surprise_page
from armillary.understanding import calibrate, probe_suite, surprise
from armillary.understanding.read_out import ReadOut, fit_read_out
from armillary.understanding.unusual import (
    LEAST_STEPS,
    UnusualEvent,
    Watch,
    false_alarms_per_minute,
)
from armillary.zoo.finding import find_model, loaded

_CALIBRATION_CLIPS = 64
_CALIBRATION_LENGTH = 20
_NORMAL_PICTURES = 20_000  # more take long, and add little to what is usual
# how far a model step may be off in time
_RATE_TOLERANCE = 0.05


@dataclass(frozen=True)
class SurpriseOfClip:
    """Surprise at steps 1 to T-1 of one clip; about 1 in normal life.

    Attributes:
        time_s: time of each of these steps.
        surprise: of the model.
        copy_last: of the copy-last baseline, in its own normal units.
        pixel_difference: mean absolute change of RGB, 0 to 1; empty where there are no pictures.
        peak_step: the most surprising step.
        normal: what the model was calibrated on, in words.
        events: what is unlike normal pictures, in the order of time (``understanding/unusual.py``);
            None where there are no pictures, or too few normal ones.
        false_alarms_per_minute: how often thresholds of one half of the normal pictures are
            exceeded in the other half; None where that was not measured.
    """

    time_s: list[float]
    surprise: list[float]
    copy_last: list[float]
    pixel_difference: list[float]
    peak_step: int
    normal: str
    events: list[UnusualEvent] | None = None
    false_alarms_per_minute: float | None = None


def probe_model(
    model: str | os.PathLike[str] | JEPA,
    dataset: str | Path | Dataset,
    targets: Sequence[str] = (),
    progress: Progress = silent,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Read truths from a model's latents, beside an untrained encoder and shuffled labels.

    Args:
        model: model folder, run folder, Hub id or a loaded model.
        dataset: a dataset, or its folder, with truth streams.
        targets: names of truth streams; none takes all whose name ends in ``_xy``.
        progress: called while the dataset is prepared.
        seed: of the split by episode, the permutations and the untrained weights.

    Raises:
        CheckpointError: not a model.
        DatasetError: not a dataset, or one without truth, or with fewer than two episodes.
        ConfigError: an unknown target.
    """
    network, dataset = loaded(model), open_dataset(dataset)
    cache = prepared(dataset, network.config, progress)
    names = _targets(cache, dataset.path, targets)
    train, test = split_episodes(cache.num_episodes, seed=seed)
    if not len(test):
        raise DatasetError(f"{dataset.path}: a probe needs at least 2 episodes, it has 1.")
    return probe_suite(
        network, _untrained_twin(network, seed), cache, train, test, names, seed=seed
    )


def read_out_of(
    model: str | os.PathLike[str] | JEPA,
    dataset: str | Path | Dataset,
    target: str,
    episodes: int | None = None,
    progress: Progress = silent,
    seed: int = 0,
) -> ReadOut:
    """Fit a linear read-out of a recorded truth on some labelled episodes.

    Args:
        model: model folder, run folder, Hub id or a loaded model.
        dataset: a dataset, or its folder, with truth streams.
        target: name of the truth stream.
        episodes: whose labels it is fitted on; None takes all that are not held out.
        progress: called while the dataset is prepared.
        seed: of the split by episode.

    Raises:
        CheckpointError: not a model.
        DatasetError: not a dataset, or one without truth, or with fewer than three episodes.
        ConfigError: an unknown target, or fewer than two episodes are asked for.
    """
    network, dataset = loaded(model), open_dataset(dataset)
    cache = prepared(dataset, network.config, progress)
    (name,) = _targets(cache, dataset.path, (target,))
    training, held_out = split_episodes(cache.num_episodes, seed=seed)
    if not len(held_out) or len(training) < 2:
        raise DatasetError(
            f"{dataset.path}: a read-out needs at least 3 episodes, it has {cache.num_episodes}."
        )
    if episodes is not None and episodes < 2:
        raise ConfigError(f"A read-out is fitted on at least 2 episodes; got {episodes}.")
    chosen = generator("read-out", seed).permutation(training)[:episodes]
    return fit_read_out(network, cache, name, np.sort(chosen), held_out, seed)


def surprise_clip(
    model: str | os.PathLike[str] | JEPA,
    clip: str | Path | Episode,
    out: Path | None = None,
    normal: str | Path | Dataset | None = None,
    progress: Progress = silent,
    command: str = "",
) -> SurpriseOfClip:
    """Measure a model's surprise over one clip, in steps as long as those that it learned.

    Args:
        model: model folder, run folder, Hub id or a loaded model.
        clip: a video file, ``DATASET:EPISODE``, or an episode.
        out: folder for ``surprise.json`` and its page ``surprise.html``; None writes nothing.
        normal: dataset of normal life to calibrate on; None takes the other episodes of the
            clip's dataset, and for a video file the clip itself, if it is long enough.
        progress: called while videos are decoded.
        command: the command line that makes the page, which shows it; empty for none.

    Raises:
        CheckpointError: not a model.
        FormatError: neither a video file nor a dataset and an episode of it.
        DatasetError: the dataset is damaged or lacks the episode, the clip is too short, or its
            steps do not fit the model's.
        ShapeError: the model needs streams that the clip does not have.
    """
    network, named = loaded(model), clip.source if isinstance(clip, Episode) else str(clip)
    step_s = step_of(model, network)
    cache, position = clip_cache(clip, network, step_s, progress)
    stride = stride_of(network, step_s, cache, named)
    clip_seen = whole_episode(network, cache, position, stride)
    _check_steps(named, clip_seen, stride / cache.fps)
    others = np.delete(np.arange(cache.num_episodes), position)
    if normal is not None:
        calm, said = prepared(open_dataset(normal), network.config, progress), os.fspath(normal)
        calm_stride = stride_of(network, step_s, calm, said)
        life = normal_clips(calm, np.arange(calm.num_episodes), calm_stride)
        usual = normal_pictures(calm, np.arange(calm.num_episodes), calm_stride)
    elif len(others):
        life, said = normal_clips(cache, others, stride), f"{len(others)} other episodes"
        usual = normal_pictures(cache, others, stride)
    else:
        _check_calibration(named, clip_seen, stride / cache.fps, network, model)
        life, said, usual = clip_seen, "the clip itself", []
    trace = surprise(network, calibrate(network, life), clip_seen)
    step_s = stride / cache.fps
    found = SurpriseOfClip(
        time_s=[(step + 1) * step_s for step in range(trace.values.shape[1])],
        surprise=trace.values[0].tolist(),
        copy_last=trace.copy_last[0].tolist(),
        pixel_difference=trace.pixel_difference[0].tolist() if "rgb" in clip_seen.streams else [],
        peak_step=int(trace.peak[0]),
        normal=said,
        **unusual_events(clip_seen, usual, step_s),
    )
    if out is not None:
        called = repr(model) if isinstance(model, JEPA) else os.fspath(model)
        write_surprise_page(found, clip, called, step_s, out / "surprise.html", command)
        write_json(out / "surprise.json", {"clip": named, "model": called, **asdict(found)})
    return found


def unusual_events(
    clip: Batch, normal: Sequence[UInt8[np.ndarray, "_ H W 3"]], step_s: float
) -> dict[str, Any]:
    """Return the events of a clip and the rate of false alarms, as fields of the result.

    Args:
        clip: one clip, whose pictures are judged.
        normal: pictures of normal clips; none takes the clip itself.
        step_s: seconds between pictures.

    Returns:
        ``events`` and ``false_alarms_per_minute`` of ``SurpriseOfClip``; empty where there are no
        pictures, or too few normal ones.
    """
    if "rgb" not in clip.streams:
        return {}
    pictures = clip.streams["rgb"][0].numpy()
    count = sum(max(len(one) - 1, 0) for one in normal) if normal else len(pictures) - 1
    if count < LEAST_STEPS:
        return {}
    watch = Watch.fit(normal, step_s) if normal else Watch.within(pictures, step_s)
    return {
        "events": watch.events(pictures),
        "false_alarms_per_minute": false_alarms_per_minute(normal, step_s) if normal else None,
    }


def _targets(cache: Cache, dataset: Path, targets: Sequence[str]) -> tuple[str, ...]:
    truths = [name for name, kind in cache.kinds.items() if kind == "truth"]
    if not truths:
        raise DatasetError(
            f"{dataset}: holds no truth to probe for; record a simulated world, which knows it."
        )
    for name in targets:
        if name not in truths:
            raise unknown_name("truth stream", name, truths)
    return tuple(targets) or tuple(n for n in truths if n.endswith("_xy")) or tuple(truths)


def _untrained_twin(model: JEPA, seed: int) -> JEPA:
    twin = untrained(model.config, seed)
    twin.normalizer.load_state_dict(model.normalizer.state_dict())
    return twin.eval()


def clip_cache(
    clip: str | Path | Episode,
    model: JEPA,
    step_s: float | None = None,
    progress: Progress = silent,
) -> tuple[Cache, int]:
    """Return a cache that holds a clip as the model sees it, and the clip's position there.

    A video file is brought to the rate of the data that the model learned from, by time.

    Args:
        clip: a video file, ``DATASET:EPISODE``, or an episode.
        model: whose picture size it gets.
        step_s: seconds of a model step; None where they are unknown.
        progress: called while videos are decoded.

    Raises:
        FormatError: neither a video file nor a dataset and an episode of it.
        DatasetError: the dataset is damaged or lacks the episode.
    """
    size = model.config.encoder.image_size
    if isinstance(clip, Episode):
        return Cache.from_episodes([clip], size, points=point_sampling(model.config)), 0
    if Path(clip).is_file():
        fps = model.config.frame_skip / step_s if step_s else None
        with TemporaryDirectory() as scratch:
            options = IngestOptions(fps=fps)
            ingest(Path(clip), Path(scratch) / "clip", progress=progress, options=options)
            cache = prepare(open_dataset(Path(scratch) / "clip"), size, Path(scratch) / "cache")
            # the files go, so what is mapped into memory is copied; it is small now
            arrays = {name: np.array(rows) for name, rows in cache.arrays.items()}
        return replace(cache, arrays=arrays), 0
    folder, _, number = str(clip).rpartition(":")
    if not folder or not number.isdecimal():
        raise FormatError(
            f"{clip}: a video file or DATASET:EPISODE was expected, e.g. out/tabletop:3."
        )
    dataset = open_dataset(folder)
    dataset.check_index(int(number))
    return prepared(dataset, model.config, progress), int(number)


def step_of(model: str | os.PathLike[str] | JEPA, network: JEPA) -> float | None:
    """Return the seconds of a model step, from the model or the dataset of its run."""
    if network.step_s or isinstance(model, JEPA):
        return network.step_s
    dataset = learned_from(model)
    return None if dataset is None else network.config.frame_skip / open_dataset(dataset).fps


def learned_from(model: str | os.PathLike[str] | JEPA) -> Path | None:
    """Return the dataset that a model was trained on, if it is known and still there."""
    if isinstance(model, JEPA):
        return None
    file = find_model(model).parent / RUN_DATA
    known = read_json(file) if file.is_file() else {}
    dataset = known.get("dataset") if isinstance(known, dict) else None
    there = isinstance(dataset, str) and dataset and (Path(dataset) / layout.INFO).is_file()
    return Path(dataset) if there and isinstance(dataset, str) else None


def stride_of(model: JEPA, step_s: float | None, cache: Cache, where: str) -> int:
    """Return how many recorded steps are one model step, by time where that is known.

    Raises:
        DatasetError: no whole number is, or the recording has actions at another rate.
    """
    skip = model.config.frame_skip
    if step_s is None:
        return skip
    wanted = step_s * cache.fps
    stride = max(1, round(wanted))
    if abs(stride - wanted) > _RATE_TOLERANCE * wanted or (stride != skip and cache.action_width):
        raise DatasetError(
            f"{where}: has {cache.fps:g} steps per second, the model learned from "
            f"{skip / step_s:g}. Ingest or record it again at that rate (--fps {skip / step_s:g} "
            "for videos)."
        )
    return stride


def _check_steps(clip: str, seen: Batch, step_s: float) -> None:
    steps = seen.valid.shape[1]
    if steps < 2:
        raise DatasetError(
            f"{clip}: is shorter than two steps of the model, which are {step_s:.3g} s apart. Give "
            f"a clip of more than {step_s:.3g} s."
        )


def _check_calibration(
    clip: str, seen: Batch, step_s: float, network: JEPA, model: str | os.PathLike[str] | JEPA
) -> None:
    """Refuse a clip that is too short to calibrate on itself.

    A covariance of fewer steps than twice its dimensions is mostly chance.
    """
    steps, needed = seen.valid.shape[1] - 1, 2 * network.config.latent_width
    if steps >= needed:
        return
    known = learned_from(model)
    example = f", e.g. the one that the model learned from ({known})" if known else ""
    raise DatasetError(
        f"{clip}: has {steps} model steps ({steps * step_s:.1f} s); to say what is normal from the "
        f"clip alone takes {needed} ({needed * step_s:.0f} s). Pass --normal with a dataset of "
        f"normal recordings{example}."
    )


def whole_episode(model: JEPA, cache: Cache, position: int, stride: int = 0) -> Batch:
    """Return a whole episode as one clip of model steps.

    Args:
        model: whose frame skip is taken.
        cache: prepared episodes.
        position: of the episode.
        stride: recorded steps of a model step; 0 takes the model's frame skip.
    """
    stride = stride or model.config.frame_skip
    length = 1 + (int(cache.lengths[position]) - 1) // stride
    return Windows(cache, np.array([position]), length, stride).gather(np.zeros(1, np.int64))


def normal_clips(cache: Cache, episodes: np.ndarray, stride: int) -> Batch:
    """Return clips of some episodes, evenly spread, on which a surprise is calibrated.

    Args:
        cache: prepared episodes.
        episodes: positions of those that are normal.
        stride: recorded steps of a model step.

    Raises:
        DatasetError: no episode has a model step.
    """
    longest = 1 + (int(cache.lengths[episodes].max()) - 1) // stride
    windows = Windows(cache, episodes, min(_CALIBRATION_LENGTH, longest), stride)
    count = min(_CALIBRATION_CLIPS, len(windows))
    return windows.gather(np.linspace(0, len(windows) - 1, count).astype(np.int64))


def normal_pictures(
    cache: Cache, episodes: np.ndarray, stride: int
) -> list[UInt8[np.ndarray, "_ H W 3"]]:
    """Return the pictures of whole episodes in model steps, until there are enough."""
    camera, found, left = first_of_kind(cache.kinds), [], _NORMAL_PICTURES
    if camera is None:
        return found
    for episode in episodes.tolist():
        rows = range(int(cache.starts[episode]), int(cache.starts[episode + 1]), stride)[:left]
        found.append(np.take(cache.arrays[camera], np.array(rows, np.int64), axis=0))
        left -= len(rows)
        if left < 1:
            break
    return found

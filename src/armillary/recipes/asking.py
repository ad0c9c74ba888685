"""Asking: probe a model on a dataset, and measure its surprise over a clip.

Axes: B clips, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from armillary.comprehension import calibrate, probe_suite, surprise
from armillary.core.errors import DatasetError, FormatError, unknown_name
from armillary.core.files import write_json
from armillary.core.progress import Progress, silent
from armillary.core.values import Batch
from armillary.data import Cache, Windows, ingest, open_dataset, split_episodes
from armillary.models import JEPA, load_model, untrained
from armillary.recipes.finding import find_model
from armillary.recipes.recipe import prepared
from armillary.recipes.surprise_page import write_surprise_page

_CALIBRATION_CLIPS = 64
_CALIBRATION_LENGTH = 20


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
    """

    time_s: list[float]
    surprise: list[float]
    copy_last: list[float]
    pixel_difference: list[float]
    peak_step: int
    normal: str


def probe_model(
    model: str | Path,
    dataset: Path,
    targets: Sequence[str] = (),
    progress: Progress = silent,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Read truths from a model's latents, beside an untrained encoder and shuffled labels.

    Args:
        model: model folder, run folder or Hub id.
        dataset: folder of a dataset with truth streams.
        targets: names of truth streams; none takes all whose name ends in ``_xy``.
        progress: told while the dataset is prepared.
        seed: of the split by episode, the permutations and the untrained weights.

    Raises:
        CheckpointError: not a model.
        DatasetError: not a dataset, or one without truth, or with fewer than two episodes.
        ConfigError: an unknown target.
    """
    network = load_model(find_model(model))
    cache = prepared(open_dataset(dataset), network.config, progress)
    names = _targets(cache, dataset, targets)
    train, test = split_episodes(cache.num_episodes, seed=seed)
    if not len(test):
        raise DatasetError(f"{dataset}: a probe needs at least 2 episodes, it has 1.")
    return probe_suite(
        network, _untrained_twin(network, seed), cache, train, test, names, seed=seed
    )


def surprise_clip(
    model: str | Path,
    clip: str,
    out: Path | None = None,
    normal: Path | None = None,
    progress: Progress = silent,
) -> SurpriseOfClip:
    """Measure a model's surprise over one clip.

    Args:
        model: model folder, run folder or Hub id.
        clip: a video file, or ``DATASET:EPISODE``.
        out: folder for ``surprise.json`` and its page ``surprise.html``; None writes nothing.
        normal: dataset of normal life to calibrate on; None takes the other episodes of the
            clip's dataset, and for a video file the clip itself.
        progress: told while videos are decoded.

    Raises:
        CheckpointError: not a model.
        FormatError: neither a video file nor a dataset and an episode of it.
        DatasetError: the dataset is damaged or lacks the episode.
        ShapeError: the model needs streams that the clip does not have.
    """
    network = load_model(find_model(model))
    cache, position = _clip(clip, network, progress)
    clip_seen = whole_episode(network, cache, position)
    others = np.delete(np.arange(cache.num_episodes), position)
    if normal is not None:
        calm, said = prepared(open_dataset(normal), network.config, progress), str(normal)
        life = _normal_clips(network, calm, np.arange(calm.num_episodes))
    elif len(others):
        life, said = _normal_clips(network, cache, others), f"{len(others)} other episodes"
    else:
        life, said = clip_seen, "the clip itself"
    trace = surprise(network, calibrate(network, life), clip_seen)
    step_s = network.config.frame_skip / cache.fps
    found = SurpriseOfClip(
        time_s=[(step + 1) * step_s for step in range(trace.values.shape[1])],
        surprise=trace.values[0].tolist(),
        copy_last=trace.copy_last[0].tolist(),
        pixel_difference=trace.pixel_difference[0].tolist() if "rgb" in clip_seen.streams else [],
        peak_step=int(trace.peak[0]),
        normal=said,
    )
    if out is not None:
        write_json(out / "surprise.json", {"clip": clip, "model": str(model), **vars(found)})
        write_surprise_page(found, clip, str(model), step_s, out / "surprise.html")
    return found


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


def _clip(clip: str, model: JEPA, progress: Progress) -> tuple[Cache, int]:
    """Return a cache that holds the clip, and its position there."""
    if Path(clip).is_file():
        with TemporaryDirectory() as scratch:
            ingest(Path(clip), Path(scratch) / "clip", progress=progress)
            episode = open_dataset(Path(scratch) / "clip").read(0)
        return Cache.from_episodes([episode], model.config.encoder.image_size), 0
    folder, _, number = clip.rpartition(":")
    if not folder or not number.isdecimal():
        raise FormatError(
            f"{clip}: a video file or DATASET:EPISODE was expected, e.g. out/tabletop:3."
        )
    dataset = open_dataset(folder)
    dataset.check_index(int(number))
    return prepared(dataset, model.config, progress), int(number)


def whole_episode(model: JEPA, cache: Cache, position: int) -> Batch:
    """Return a whole episode as one clip of model steps."""
    stride = model.config.frame_skip
    length = 1 + (int(cache.lengths[position]) - 1) // stride
    return Windows(cache, np.array([position]), length, stride).gather(np.zeros(1, np.int64))


def _normal_clips(model: JEPA, cache: Cache, episodes: np.ndarray) -> Batch:
    stride = model.config.frame_skip
    longest = 1 + (int(cache.lengths[episodes].max()) - 1) // stride
    windows = Windows(cache, episodes, min(_CALIBRATION_LENGTH, longest), stride)
    count = min(_CALIBRATION_CLIPS, len(windows))
    return windows.gather(np.linspace(0, len(windows) - 1, count).astype(np.int64))

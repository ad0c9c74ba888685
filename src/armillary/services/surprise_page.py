"""The page about a model's surprise over one clip: it plays, beside the curve and the pixel change.

Axes: T model steps of the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from armillary.benchmark.machine import date
from armillary.core.values import Episode
from armillary.data import open_dataset
from armillary.data.layout import first_of_kind
from armillary.data.resize import within_side
from armillary.data.sources.video_folder import examine, resampled
from armillary.report import (
    ReportContents,
    SurpriseView,
    over_median,
    spread_steps,
    top_moments,
    write_report,
)
from armillary.services.view.episodes import picture_frames, small_picture
from armillary.understanding.unusual import MEANING

_MOST_PICTURES = 400
_SIDE_PX = 256
_MOMENTS = 5
_MOST_EVENTS = 20  # of a kind, in words


def write_surprise_page(
    found: Any,
    clip: str | Path | Episode,
    model: str,
    step_s: float,
    out: Path,
    command: str = "",
) -> Path:
    """Write the page, in one step, and return its file.

    Args:
        found: a ``SurpriseOfClip``.
        clip: a video file, ``DATASET:EPISODE`` or an episode, as it was given.
        model: how the model was named.
        step_s: seconds from one model step to the next.
        out: the file.
        command: the command line that makes it; empty for none.

    Raises:
        DatasetError: the dataset is damaged.
        FormatError: the video file is damaged.
        StorageError: not writable, or the disk is full.
    """
    surprise = np.array(found.surprise, np.float64)
    moments = top_moments(surprise, _MOMENTS, apart=max(2, len(surprise) // 40))
    if found.events:  # they are found better than by the surprise: results/unusual.json
        strongest = sorted(found.events, key=lambda event: -event.score)[:_MOMENTS]
        moments = tuple(round(event.begin_s / step_s) for event in strongest)
    keep = [step for moment in moments for step in (moment - 1, moment)]
    shown = spread_steps(len(surprise) + 1, _MOST_PICTURES, keep)
    frames = clip_pictures(clip, np.array(shown) * step_s)
    named = clip.source if isinstance(clip, Episode) else str(clip)
    most = found.peak_step - 1
    contents = ReportContents(
        title="Surprise over a clip",
        summary="Surprise is the prediction error at each step, divided by the error that is usual "
        "on normal clips. About 1 is normal.",
        results=(),
        machine={},
        date=date(),
        command=command,
        facts={
            "clip": named,
            "model": model,
            "most surprising": f"at {found.time_s[most]:.2f} s: {found.surprise[most]:.2f}",
            "calibrated on": found.normal,
            **_events(found),
        },
        surprise=SurpriseView(
            surprise,
            frames,
            _baselines(found),
            caption=_caption(
                len(moments), len(shown), len(surprise) + 1, frames is not None, bool(found.events)
            ),
            step_s=step_s,
            shown=shown,
            moments=moments,
        ),
    )
    return write_report(contents, out)


def clip_pictures(
    clip: str | Path | Episode, times_s: Sequence[float] | np.ndarray
) -> UInt8[np.ndarray, "T H W 3"] | None:
    """Return small pictures of a clip at some times, or None where it has no colour camera.

    Args:
        clip: a video file, ``DATASET:EPISODE`` or an episode.
        times_s: seconds from its first step, ascending.

    Raises:
        DatasetError: the dataset is damaged.
        FormatError: the video file is damaged.
    """
    if isinstance(clip, Episode):
        return _of_episode(clip, np.asarray(times_s))
    if Path(clip).is_file():
        return _of_file(Path(clip), np.asarray(times_s))
    folder, _, number = str(clip).rpartition(":")
    dataset = open_dataset(folder)
    name = first_of_kind(dataset.cameras)
    if name is None:
        return None
    wanted = np.rint(np.asarray(times_s) * dataset.fps).astype(int)
    steps = tuple(wanted.clip(0, int(dataset.lengths[int(number)]) - 1).tolist())
    return picture_frames(dataset, int(number), name, steps, _SIDE_PX)


def _of_episode(clip: Episode, times_s: np.ndarray) -> np.ndarray | None:
    name = first_of_kind({name: stream.kind for name, stream in clip.streams.items()})
    if name is None:
        return None
    pictures = clip.streams[name].values
    since_s = (clip.time_ns - clip.time_ns[0]) / 1e9
    nearest = np.abs(since_s[None] - times_s[:, None]).argmin(axis=1)
    return np.stack([small_picture(pictures[step], _SIDE_PX) for step in nearest])


def _of_file(path: Path, times_s: np.ndarray) -> np.ndarray:
    """Return the frame nearest to each time; the file is decoded once, few small ones kept."""
    size = within_side(examine(path).size, _SIDE_PX)
    gaps = np.diff(times_s)
    step_s = float(gaps.min()) if len(gaps) else 1.0
    wanted = np.rint(times_s / step_s).astype(int)
    kept: dict[int, np.ndarray] = {}
    last = -1
    for step, (_, image) in enumerate(resampled(path, 1 / step_s, size)):
        if step in wanted or last < 0:
            kept[step], last = image, step
    return np.stack([kept.get(step, kept[last]) for step in wanted.tolist()])


def _baselines(found: Any) -> dict[str, np.ndarray]:
    curves = {"copy-last": np.array(found.copy_last, np.float64)}
    if found.pixel_difference:
        change = np.array(found.pixel_difference, np.float64)
        curves["pixel change over its median"] = over_median(change)
    return curves


def _events(found: Any) -> dict[str, str]:
    """Return when the clip is unlike normal pictures, as facts of the page, by what it is."""
    if found.events is None:
        return {}
    facts = {}
    for measure, meaning in MEANING.items():
        times = [event.times for event in found.events if event.measure == measure]
        more = f" and {len(times) - _MOST_EVENTS} more" if len(times) > _MOST_EVENTS else ""
        if times:
            facts[meaning] = f"{', '.join(times[:_MOST_EVENTS])} s{more}"
    return facts or {"events unlike normal pictures": "none"}


def _caption(moments: int, shown: int, steps: int, pictured: bool, events: bool) -> str:
    note = "Copy-last predicts that nothing changes."
    if pictured:
        kind = "strongest events" if events else "most surprising moments"
        note += f" The small pictures are the {moments} {kind}"
        note += ", each beside the step before it."
    if pictured and shown < steps:
        note += f" {shown:,} of {steps:,} steps have a picture."
    return note

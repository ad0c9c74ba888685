"""The page about a dataset: pictures and depth from all over it, and what it holds in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from armillary.benchmark.machine import date
from armillary.data import Dataset, describe, open_dataset
from armillary.data.depth import to_metres
from armillary.data.layout import first_of_kind
from armillary.report import ContactSheet, ReportContents, spread_steps
from armillary.services.view.episodes import episode_view, small_picture

_PICTURES = 16
_EPISODES = 3
_SIDE_PX = 160  # about what one picture gets on a wide screen; keeps the page small


def dataset_page(path: Path) -> ReportContents:
    """Return the page about a dataset.

    Raises:
        DatasetError: it is damaged or was never finished.
    """
    about = describe(path)
    dataset = open_dataset(path)
    shown = spread_steps(dataset.num_episodes, _EPISODES)
    return ReportContents(
        title=f"Dataset {path.resolve().name}",
        summary=f"{_counted(about['episodes'], 'episode')}, {_counted(about['frames'], 'step')}, "
        f"{_duration(about['seconds'])} at {about['fps']:g} steps per second.",
        results=(),
        machine={},
        date=date(),
        command=f"armillary view {path}",
        contact=_contact_sheet(dataset),
        episodes=tuple(
            episode_view(dataset, episode) for episode in shown if dataset.cameras or dataset.clouds
        ),
        facts=_facts(about),
    )


def _contact_sheet(dataset: Dataset) -> ContactSheet | None:
    """Return pictures of steps that are evenly spaced over the whole dataset."""
    cameras = dataset.cameras
    colour = first_of_kind(cameras, "rgb")
    depth = first_of_kind(cameras, "depth")
    if colour is None and depth is None:
        return None
    total = int(dataset.lengths.sum())
    count = min(_PICTURES, total)
    places = ((np.arange(count) + 0.5) * total / count).astype(np.int64)
    pictures = _pictures(dataset, colour, places) if colour else []
    raw = _pictures(dataset, depth, places) if depth else []
    below = ""
    if colour and depth:
        own = (colour, depth) == ("rgb", "depth")
        below = f" Below each picture {'its depth' if own else f'of {colour} that of {depth}'}."
    return ContactSheet(
        rgb=tuple(pictures),
        depth_m=tuple(to_metres(image) for image in raw),
        caption=f"{count} steps, evenly spaced over all episodes.{below}",
    )


def _pictures(dataset: Dataset, name: str, places: Int64[np.ndarray, " K"]) -> list[np.ndarray]:
    """Return small pictures of one camera at steps counted over all episodes."""
    starts = np.concatenate([[0], np.cumsum(dataset.lengths)])
    episodes = np.searchsorted(starts, places, side="right") - 1
    found = []
    for episode in np.unique(episodes).tolist():
        steps = (places[episodes == episode] - starts[episode]).tolist()
        images = dataset.frames(episode, name, steps)
        colour = dataset.cameras[name] == "rgb"
        found += [small_picture(image, _SIDE_PX, average=colour) for image in images]
    return found


def _facts(about: Mapping[str, Any]) -> dict[str, str]:
    shortest, longest = about["steps_per_episode"]
    width = about["action_width"]
    return {
        "episodes": f"{about['episodes']:,}",
        "steps": f"{about['frames']:,}",
        "steps per episode": f"{shortest:,}"
        if shortest == longest
        else f"{shortest:,}-{longest:,}",
        **{name: _stream(spec) for name, spec in about["streams"].items()},
        "actions": f"{width} numbers per step" if width else "none",
        "source of the first": about["source"],
        "licence": about["license"] or "unknown",
        "size": f"{about['bytes'] / 1e6:,.1f} MB",
        "written by": about["written_by"],
        "identity": about["identity"][:16],
    }


def _stream(spec: Mapping[str, Any]) -> str:
    words = [spec["kind"], "x".join(map(str, spec["shape"]))]
    words += [f"in {spec['unit']}"] if spec["unit"] else []
    words += [f"frame {spec['frame']}"] if spec["frame"] else []
    words += ["lens known"] if spec["intrinsics"] else []
    return ", ".join(words)


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"

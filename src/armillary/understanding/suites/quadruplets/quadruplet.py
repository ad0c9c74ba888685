"""Quadruplet: two contexts and two outcomes. Of the four clips, two are possible and two are not.

A spliced quadruplet holds nothing but frames of its two possible clips: an impossible one begins as
the one and ends as the other, cut where both look alike. In an exchanged one the camera's moves of
one clip come with the picture of the other.

Axes: C context, O outcome, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from armillary.core.errors import WorldError
from armillary.worlds.stage import Scene, paint

Kind = Literal["spliced", "exchanged"]
CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True)
class Quadruplet:
    """Four clips.

    Attributes:
        frames: clip of context c and outcome o at [c, o]; possible where c equals o.
        pans: the camera's moves of the same clips.
        kind: how the impossible clips were made.
        event: first step at which the two outcomes differ.
        hidden: steps before the event at which both clips of a context were alike.
        factors: what was counterbalanced, by name.
    """

    frames: UInt8[np.ndarray, "2 2 T H W 3"]
    pans: Float32[np.ndarray, "2 2 _ 2"]
    kind: Kind
    event: int
    hidden: int
    factors: Mapping[str, str]


def spliced(first: Scene, second: Scene, factors: Mapping[str, str], visible: bool) -> Quadruplet:
    """Return the quadruplet of two scenes that look alike for a while in the middle.

    Args:
        first: context 0, outcome 0.
        second: context 1, outcome 1.
        factors: for the record.
        visible: take the screens away after the cut is chosen, so that all can be seen.

    Raises:
        WorldError: they never look alike between a context and an outcome that differ.
    """
    clips = paint(first), paint(second)
    begin, event = alike(*clips)
    cut = (begin + event + 1) // 2
    if visible:
        clips = paint(without_screens(first)), paint(without_screens(second))
    frames = np.stack(
        [
            np.stack([np.concatenate([before[:cut], after[cut:]]) for after in clips])
            for before in clips
        ]
    )
    return Quadruplet(frames, _pans(first), "spliced", event, event - begin, factors)


def exchanged(first: Scene, second: Scene, factors: Mapping[str, str]) -> Quadruplet:
    """Return the quadruplet of two ways to move the camera past the same things.

    Args:
        first: moves of context 0, picture of outcome 0.
        second: moves of context 1, picture of outcome 1.
        factors: for the record.
    """
    clips = paint(first), paint(second)
    _, event = alike(*clips, from_start=True)
    frames = np.stack([np.stack(clips)] * 2)
    pans = np.stack([np.stack([scene.pans()] * 2) for scene in (first, second)])
    return Quadruplet(frames, pans.astype(np.float32), "exchanged", event, 0, factors)


def alike(
    first: UInt8[np.ndarray, "T H W 3"],
    second: UInt8[np.ndarray, "T H W 3"],
    from_start: bool = False,
) -> tuple[int, int]:
    """Return the first step of the longest stretch in which two clips are equal, and the one after.

    Args:
        first: a clip.
        second: another.
        from_start: the stretch begins with the clips; else they differ before it.

    Raises:
        WorldError: there is no such stretch of two steps that ends in a difference.
    """
    differ = (first != second).any(axis=(1, 2, 3))
    edges = np.flatnonzero(np.diff(np.concatenate([[True], differ, [True]]).astype(int)))
    runs = [
        (int(begin), int(end))
        for begin, end in zip(edges[::2], edges[1::2], strict=True)
        if end < len(differ) and (begin == 0) == from_start and end - begin >= 2
    ]
    if not runs:
        raise WorldError("The two scenes never look alike between context and outcome.")
    return max(runs, key=lambda run: run[1] - run[0])


def without_screens(scene: Scene) -> Scene:
    """Return a scene in which nothing is hidden."""
    return replace(scene, screens=())


def _pans(scene: Scene) -> np.ndarray:
    return np.broadcast_to(scene.pans().astype(np.float32), (2, 2, scene.steps - 1, 2))

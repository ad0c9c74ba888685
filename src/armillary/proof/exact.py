"""Exact: what is the same to the bit in an evaluation and in what was learned from.

The evaluation is kept as hashes; training data pass by once. One picture of an evaluation that
several of its own episodes share (a blank screen) is no evidence and is left out: nobody but the
evaluation itself can make a picture common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from armillary.proof.footage import Footage, frame_digest, seed_digest, trajectory_digest

STRETCH = 8  # actions; a copy that was cut shorter than the whole still holds such stretches


@dataclass
class Hits:
    """What training data share with the evaluation.

    Attributes:
        counts: how often, by kind: frames, trajectories, seeds, scene, source.
        episodes: names of the evaluation's episodes that are shared, by kind.
        first: the first sentence of each kind.
    """

    counts: Counter[str] = field(default_factory=Counter)
    episodes: dict[str, set[str]] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, episode: str, sentence: str) -> None:
        """Count one; keep its sentence if it is the first of its kind."""
        self.counts[kind] += 1
        self.episodes.setdefault(kind, set()).add(episode)
        self.first.setdefault(kind, sentence)


class ExactIndex:
    """The hashes of an evaluation, against which training data are held."""

    def __init__(self) -> None:
        self.hits = Hits()
        self.frames: dict[bytes, str] = {}
        self.common: set[bytes] = set()
        self._trajectories: dict[bytes, str] = {}
        self._seeds: dict[bytes, str] = {}
        self._groups: dict[tuple[str, str], str] = {}

    def hold(self, footage: Footage) -> None:
        """Keep the hashes of an episode of the evaluation."""
        self.hold_states(footage)
        for picture in footage.pictures():
            digest = frame_digest(picture)
            if self.frames.get(digest, footage.name) != footage.name:
                self.common.add(digest)
            self.frames.setdefault(digest, footage.name)

    def hold_states(self, footage: Footage) -> None:
        """Keep the hashes of an episode without those of its pictures."""
        if footage.seed is not None:
            self._seeds.setdefault(seed_digest(footage.world, footage.seed), footage.name)
        for group in footage.groups().items():
            self._groups.setdefault(group, footage.name)
        for digest in _stretches(footage):
            self._trajectories.setdefault(digest, footage.name)

    @property
    def held(self) -> dict[str, int]:
        """How many hashes of each kind there are."""
        frames = len(self.frames) - len(self.common)
        kinds = {"trajectories": self._trajectories, "seeds": self._seeds}
        return {"frames": frames, **{kind: len(known) for kind, known in kinds.items()}}

    def see(self, footage: Footage) -> None:
        """Hold the states, the seed and the groups of a training episode against it."""
        if footage.seed is not None:
            self._compare("seeds", seed_digest(footage.world, footage.seed), self._seeds, footage)
        for kind, text in footage.groups().items():
            theirs = self._groups.get((kind, text))
            if theirs is not None:
                sentence = f"{footage.name} and {theirs} share the {kind} {text}."
                self.hits.add(kind, theirs, sentence)
        for digest in _stretches(footage):
            self._compare("trajectories", digest, self._trajectories, footage)

    def see_frame(self, digest: bytes, footage: Footage) -> None:
        """Hold the hash of a training picture against it."""
        if digest not in self.common:
            self._compare("frames", digest, self.frames, footage)

    def _compare(self, kind: str, digest: bytes, known: dict[bytes, str], footage: Footage) -> None:
        if digest in known:
            self.hits.add(kind, known[digest], f"{footage.name} holds what is in {known[digest]}.")


def _stretches(footage: Footage) -> Iterable[bytes]:
    """Yield the hashes of all stretches in which something moves; none without states."""
    if not footage.states or footage.actions is None:
        return
    moved = np.zeros(len(footage.actions), bool)
    for values in footage.states.values():
        moved |= (np.diff(np.nan_to_num(values), axis=0) != 0).any(axis=1)
    length = min(STRETCH, len(moved))
    for start in range(len(moved) - length + 1):
        if moved[start : start + length].any():
            yield trajectory_digest(footage, start, start + length)

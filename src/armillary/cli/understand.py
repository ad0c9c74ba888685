"""Understand: ask a model where things are, and what surprises it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command


@dataclass(frozen=True, kw_only=True)
class Probe(Command):
    """Read positions and other truths from a model's latents, beside its controls.

    The controls are an untrained encoder and shuffled labels; the split is by episode.

    e.g. armillary probe out/run/model out/tabletop
    """

    model: Positional[str]
    """Model folder, or Hub repository id."""
    dataset: Positional[Path]
    """Dataset with truth streams (a recording of a simulated world)."""

    def run(self) -> Outcome:
        """Probe."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Surprise(Command):
    """Say how surprised a model is at every step of a clip, and where most.

    e.g. armillary surprise out/run/model out/tabletop:3 --out out/surprise
    """

    model: Positional[str]
    """Model folder, or Hub repository id."""
    clip: Positional[str]
    """A video file, or DATASET:EPISODE."""
    out: Path | None = None
    """Folder for surprise.json; nothing is written without it."""

    def run(self) -> Outcome:
        """Measure surprise."""
        raise NotImplementedError

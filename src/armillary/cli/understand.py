"""Understand: ask a model where things are, and what surprises it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command
from armillary.cli.progress import bar


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
    targets: str = ""
    """Truth streams, separated by commas; empty takes all that end in _xy."""

    def run(self) -> Outcome:
        """Probe."""
        from armillary.recipes.asking import probe_model

        targets = tuple(name for name in self.targets.split(",") if name)
        with bar("preparing") as progress:
            found = probe_model(self.model, self.dataset, targets, progress)
        rows = [
            {
                "target": name,
                "R2": f"{row['r2']:.3f}",
                "R2 small MLP": f"{row['r2_mlp']:.3f}",
                "R2 untrained": f"{row['r2_untrained']:.3f}",
                "R2 shuffled": f"{row['r2_shuffled']:.3f}",
                "error": f"{row['error_m']:.4f}",
            }
            for name, row in found.items()
        ]
        notes = tuple(f"{name}: {row['note']}" for name, row in found.items() if "note" in row)
        return Outcome({"probe": found}, notes, rows)


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
    normal: Path | None = None
    """Dataset of normal life to calibrate on; else the other episodes, or the clip itself."""

    def run(self) -> Outcome:
        """Measure surprise."""
        from armillary.recipes.asking import surprise_clip

        with bar("preparing") as progress:
            found = surprise_clip(self.model, self.clip, self.out, self.normal, progress)
        most = found.peak_step - 1
        said = (
            f"most surprising: step {found.peak_step} ({found.time_s[most]:.2f} s), "
            f"{found.surprise[most]:.1f} where 1 is normal; calibrated on {found.normal}"
        )
        steps = zip(
            found.time_s, found.surprise, found.copy_last, found.pixel_difference, strict=True
        )
        rows = [
            {
                "time": f"{time_s:.2f} s",
                "surprise": f"{own:.2f}",
                "copy-last": f"{copy:.2f}",
                "pixel change": f"{pixels:.4f}",
            }
            for time_s, own, copy, pixels in steps
        ]
        return Outcome({"surprise": found}, (said,), rows)

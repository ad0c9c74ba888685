"""Guard: stop a policy when the world no longer does what its model predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional, UseAppendAction

from armillary.cli.again import again
from armillary.cli.outcome import Outcome
from armillary.cli.parse import settings_of
from armillary.cli.planning import PlanningFlags
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Guard(PlanningFlags):
    """Calibrate a stop for a model's policy, and measure how well it works.

    The policy stops when prediction errors exceed their limits. The limits come from normal
    episodes of the same policy. Other episodes measure false stops and detections. In some of them
    an object jumps, the actuator sticks, or the camera moves.

    Writes guard.json, manifests, records and results.json.

    e.g. armillary guard out/run/model tabletop --out out/guard
    """

    model: Positional[str]
    """Model folder, run folder, zoo:NAME, or Hub id."""
    world: Positional[str]
    """Name of the world."""
    out: Path = Path("out/guard")
    """Folder for guard.json, records and results.json."""
    episodes: int = 100
    """Test episodes: so many normal ones, and so many of each perturbation."""
    calibration: int = 399
    """Normal episodes that set the limits, for 1 % false stops."""
    exploring: int = 200
    """Exploration episodes that set the normal level of prediction error."""
    within: int = 5
    """Steps within which an event must be detected."""
    task: str = ""
    """Goal task of the world. Default: its first task."""
    setting: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the world, e.g. --setting split=train."""
    replan: int = 1
    """Model steps to execute before planning again."""
    workers: int = 2
    """Number of processes. The result does not depend on it."""
    seed: int = 0
    """Seed of all episodes."""

    def run(self) -> Outcome:
        """Calibrate and measure."""
        from armillary.services.guarding import GuardConfig, guard_study

        config = GuardConfig(
            episodes=self.episodes,
            calibration=self.calibration,
            exploring=self.exploring,
            within=self.within,
            planning=self.planning(replan=self.replan),
            task=self.task or None,
            world_settings=settings_of(self.setting, "--setting"),
            workers=self.workers,
            seed=self.seed,
        )
        command = again(self, "guard")
        with bar("guarding") as progress:
            value = guard_study(self.model, self.world, self.out, config, progress, command)
        said = (
            f"{self.out / 'guard.json'}: at most {100 * value['false_stops_at_most']:.2g} % false "
            f"stops guaranteed. Events detected within {self.within} steps:"
        )
        return Outcome(value, (said,), [_shown(*row) for row in value["rows"].items()])


def _shown(name: str, row: Mapping[str, Any]) -> dict[str, str]:
    normal = row["normal"]
    shown = {"judge": name, "false stops": f"{normal['false_stops']} of {normal['n']}"}
    for kind, found in row.items():
        if kind != "normal":
            low, high = (100 * bound for bound in found["wilson95"])
            shown[kind] = f"{found['caught']} of {found['n']} ({low:.0f} to {high:.0f} %)"
    return shown

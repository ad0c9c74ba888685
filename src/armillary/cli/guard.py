"""Guard: let a policy stop when the world no longer does what its model foresees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional, UseAppendAction

from armillary.cli.again import again
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, settings_of
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Guard(Command):
    """Calibrate a stop for a model's policy, and measure what it catches and how often it errs.

    Its limits come from normal episodes of the same policy; it is measured on others, and on
    episodes in which the world goes wrong: an object teleported, the actuator stuck, the camera
    knocked. Writes guard.json, manifests, records and results.json.

    e.g. armillary guard out/run/model tabletop --out out/guard
    """

    model: Positional[str]
    """Model folder, or Hub repository id."""
    world: Positional[str]
    """Name of the world."""
    out: Path = Path("out/guard")
    """Folder for guard.json, records and results.json."""
    episodes: int = 100
    """Normal episodes, and episodes of each perturbation, to measure on."""
    calibration: int = 399
    """Normal episodes that set the limits, such that 1 % of new ones stop for nothing."""
    exploring: int = 200
    """Exploring episodes that say what is normal."""
    within: int = 5
    """Steps in which an event must be caught."""
    planner: str = "icem"
    """Planner that searches the model: cem, icem, mppi, gradient or collocation."""
    task: str = ""
    """Goal task of the world; empty takes its first."""
    setting: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the world, e.g. --setting split=train; may be given several times."""
    replan: int = 1
    """Model steps that are executed before the next decision."""
    workers: int = 2
    """Processes; the result does not depend on it."""
    seed: int = 0
    """Names all episodes."""

    def run(self) -> Outcome:
        """Calibrate and measure."""
        from armillary.recipes.guarding import GuardConfig, guard_study

        config = GuardConfig(
            episodes=self.episodes,
            calibration=self.calibration,
            exploring=self.exploring,
            within=self.within,
            planner=self.planner,
            task=self.task or None,
            world_settings=settings_of(self.setting, "--setting"),
            replan=self.replan,
            workers=self.workers,
            seed=self.seed,
        )
        command = again(self, "guard")
        with bar("guarding") as progress:
            value = guard_study(self.model, self.world, self.out, config, progress, command)
        said = (
            f"{self.out / 'guard.json'}: at most {100 * value['false_stops_at_most']:.2g} % false "
            f"stops promised; events caught within {self.within} steps:"
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

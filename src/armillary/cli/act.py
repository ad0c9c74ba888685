"""Act: let a model reach goals that it is shown, and count, beside its floors and ceiling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional, UseAppendAction

from armillary.api.tables import evaluation_rows
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, settings_of
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Act(Command):
    """Evaluate a model in a world in closed loop, beside random, no-op and oracle.

    Writes the manifest (made before the model runs), a record of every episode, and the rows.

    e.g. armillary act out/run/model tabletop --episodes 100 --out out/act
    """

    model: Positional[str]
    """Model folder, or Hub repository id."""
    world: Positional[str]
    """Name of the world."""
    out: Path = Path("out/act")
    """Folder for manifest.json, records and rows.json."""
    planner: str = "icem"
    """Planner that searches the model: cem, icem, mppi, gradient or collocation; none to act as the
    prior says."""
    plan: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the planner, e.g. --plan length=16; may be given several times."""
    episodes: int = 100
    """How many held-out episodes."""
    task: str = ""
    """Goal task of the world; empty takes its first."""
    replan: int = 1
    """Model steps that are executed before the next decision."""
    batch: int = 1
    """Episodes that are decided for at once: faster, and named in the records."""
    workers: int = 2
    """Processes; the records do not depend on it."""
    seed: int = 0
    """Seed of the manifest."""
    setting: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the world, e.g. --setting split=train; may be given several times."""
    budget: int | None = None
    """World steps per episode; else the task's own."""
    success_distance: float | None = None
    """Solved within this distance of the goal, in the world's unit; else the task's own."""
    prior: bool = False
    """Plan with the model's goal prior, or follow it (armillary prior trains one)."""
    proposals: int | None = None
    """Plans of the prior that each decision tries first; 0 leaves them out."""
    value_weight: float | None = None
    """Weight of the prior's goal distance in the cost; 0 leaves it out."""
    executed: int | None = None
    """Without a planner: world steps from one look to the next; else those of a model step."""
    consensus: int = 1
    """Looks that the present is taken from, as most of them have it; 3 or more mean something."""
    together: bool = False
    """Encode goal and remembered looks as one scene: one may tell what a hole of another hides."""
    hold: bool = False
    """Plan one action for all world steps of a model step."""
    adapt: bool = False
    """Learn from each episode while it runs: where the model was wrong, and what is far."""

    def run(self) -> Outcome:
        """Evaluate."""
        from armillary.planning.experience import AdaptationConfig
        from armillary.recipes.acting import ActConfig, act, as_dict

        config = ActConfig(
            planner=self.planner,
            planner_settings=settings_of(self.plan, "--plan"),
            episodes=self.episodes,
            task=self.task or None,
            seed=self.seed,
            workers=self.workers,
            replan=self.replan,
            batch=self.batch,
            world_settings=settings_of(self.setting, "--setting"),
            budget=self.budget,
            executed=self.executed,
            success_distance=self.success_distance,
            consensus=self.consensus,
            together=self.together,
            hold=self.hold,
            adapt=AdaptationConfig() if self.adapt else None,
            **self._prior(),
        )
        with bar("acting") as progress:
            result = act(self.model, self.world, self.out, config, progress)
        value = as_dict(result)
        said = f"{result.manifest.world}, task {result.manifest.task}: records in {self.out}"
        return Outcome(value, (said,), evaluation_rows(value["rows"]))

    def _prior(self) -> dict[str, Any]:
        given = {"proposals": self.proposals, "value_weight": self.value_weight}
        chosen = {name: value for name, value in given.items() if value is not None}
        if chosen and not self.prior:
            raise ConfigError("--proposals and --value-weight need --prior, which was not given.")
        return {"prior": self.prior, **chosen}

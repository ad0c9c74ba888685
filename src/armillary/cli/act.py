"""Act: evaluate a model in a world, beside the baselines random, no-op and oracle."""

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
    """Evaluate a model in a world in closed loop.

    The model gets a goal image and acts to reach it. The baselines are a random policy, no action
    at all, and an oracle. All of them get the same episodes.

    Writes a manifest, a record of every episode, and rows.json. The manifest fixes the episodes
    before the model runs.

    e.g. armillary act out/run/model tabletop --episodes 100 --out out/act
    """

    model: Positional[str]
    """Model folder, run folder, or Hub id."""
    world: Positional[str]
    """Name of the world."""
    out: Path = Path("out/act")
    """Folder for manifest.json, records and rows.json."""
    planner: str = ""
    """direct: the model's goal policy acts, without a search.
    guided: search around what the goal policy proposes.
    cem, icem, mppi, gradient or collocation: search without it.
    none: the policy of `armillary prior` acts (--prior).
    Default: direct if the model has a goal policy and no other flag
    asks for a search, else icem."""
    plan: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the planner, e.g. --plan length=16."""
    episodes: int = 100
    """Number of held-out episodes."""
    task: str = ""
    """Goal task of the world. Default: its first task."""
    replan: int = 1
    """Model steps to execute before planning again."""
    batch: int = 1
    """Episodes to plan for at once. More is faster."""
    workers: int = 2
    """Number of processes. The result does not depend on it."""
    seed: int = 0
    """Seed of the episodes."""
    setting: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the world, e.g. --setting split=train."""
    budget: int | None = None
    """World steps per episode. Default: that of the task."""
    success_distance: float | None = None
    """Distance to the goal that counts as success. Default: that of the task.
    Its unit is that of the world."""
    prior: bool = False
    """Use the model's goal-conditioned policy (armillary prior trains one)."""
    proposals: int | None = None
    """Plans sampled from the policy for each decision, with --planner guided or --prior."""
    value_weight: float | None = None
    """Weight of the learned goal distance in the cost. 0 for none."""
    executed: int | None = None
    """With --planner none: world steps between observations.
    Default: the world steps of one model step."""
    consensus: int = 1
    """Number of last observations to estimate the present state from.
    Each is rolled forward to now, and the medoid is used. Useful from 3."""
    together: bool = False
    """Encode the goal and the last observations jointly.
    One observation can fill the missing depth of another."""
    hold: bool = False
    """Repeat one action for all world steps of a model step."""
    adapt: bool = False
    """Adapt to each episode while it runs, from the errors of the predictions."""

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
        said = (
            f"{result.manifest.world}, task {result.manifest.task}, planner {result.planner}: "
            f"records in {self.out}"
        )
        return Outcome(value, (said,), evaluation_rows(value["rows"]))

    def _prior(self) -> dict[str, Any]:
        given = {"proposals": self.proposals, "value_weight": self.value_weight}
        chosen = {name: value for name, value in given.items() if value is not None}
        if chosen.keys() - ({"proposals"} if self.planner == "guided" else {}) and not self.prior:
            raise ConfigError(
                "--proposals and --value-weight need --prior, or --proposals --planner guided."
            )
        return {"prior": self.prior, **chosen}

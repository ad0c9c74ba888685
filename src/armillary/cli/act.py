"""Act: evaluate a model in a world, beside the baselines random, no-op and oracle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional, UseAppendAction

from armillary.api.tables import evaluation_rows
from armillary.cli.outcome import Outcome
from armillary.cli.parse import settings_of
from armillary.cli.planning import PlanningFlags
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Act(PlanningFlags):
    """Evaluate a model in a world in closed loop.

    The model gets a goal image and acts to reach it. The baselines are a random policy, no action
    at all, and an oracle. All of them get the same episodes.

    Writes a manifest, a record of every episode, and rows.json. The manifest fixes the episodes
    before the model runs.

    e.g. armillary act out/run/model tabletop --episodes 100 --out out/act
    """

    model: Positional[str]
    """Model folder, run folder, zoo:NAME, or Hub id."""
    world: Positional[str]
    """Name of the world."""
    out: Path = Path("out/act")
    """Folder for manifest.json, records and rows.json."""
    episodes: int = 100
    """Number of held-out episodes."""
    task: str = ""
    """Goal task of the world. Default: its first task."""
    replan: int = 1
    """Model steps to execute before planning again."""
    batch: int = 1
    """Episodes to plan for at once, for a search without a goal policy. More is faster."""
    sub_goals: bool = True
    """Go to a far goal over landmarks, if the model has some (armillary landmarks)."""
    workers: int = 2
    """Number of processes. The result does not depend on it."""
    on: str = ""
    """ray: use actors of Ray in place of processes.
    ray://HOST:PORT: those of a cluster that shares the disk of the model."""
    seed: int = 0
    """Seed of the episodes."""
    setting: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the world, e.g. --setting split=train."""
    budget: int | None = None
    """World steps per episode. Default: that of the task."""
    success_distance: float | None = None
    """Distance to the goal that counts as success. Default: that of the task.
    Its unit is that of the world."""

    def run(self) -> Outcome:
        """Evaluate."""
        from armillary.services.acting import ActConfig, act, as_dict

        config = ActConfig(
            planning=self.planning(replan=self.replan),
            episodes=self.episodes,
            task=self.task or None,
            seed=self.seed,
            workers=self.workers,
            batch=self.batch,
            sub_goals=self.sub_goals,
            world_settings=settings_of(self.setting, "--setting"),
            budget=self.budget,
            success_distance=self.success_distance,
            on=self.on,
        )
        with bar("acting") as progress:
            result = act(self.model, self.world, self.out, config, progress)
        value = as_dict(result)
        said = (
            f"{result.manifest.world}, task {result.manifest.task}, planner {result.planner}: "
            f"records in {self.out}"
        )
        why = () if result.failures is None else (str(result.failures),)
        return Outcome(value, (said, *why), evaluation_rows(value["rows"]))

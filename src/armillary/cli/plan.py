"""Plan: actions from a recorded moment to a goal, and what the model predicts of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional, UseAppendAction

from armillary.cli.outcome import Outcome, plain
from armillary.cli.parse import existing
from armillary.cli.planning import SearchFlags
from armillary.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Plan(SearchFlags):
    """Plan actions from a recorded moment to a goal, and predict what they lead to.

    Nothing is executed. A goal is a value or a region of something that the dataset records as
    truth, another picture of the same episode, or both. A linear read-out of the model's latents
    is fitted for each value.

    e.g. armillary plan out/demo/run out/demo/recording --goal pusher_xy=0.1,0.0
    """

    model: Positional[str]
    """Model folder, run folder, zoo:NAME, or Hub id."""
    data: Positional[Path]
    """Dataset folder."""
    goal: UseAppendAction[tuple[str, ...]] = ()
    """NAME=VALUE,VALUE for a truth stream. A value is a number, LOW..HIGH, or any."""
    goal_step: int | None = None
    """Step of the episode whose picture is the goal."""
    episode: int = 0
    """Episode in which the plan begins. Negative numbers count from the end."""
    step: int = 0
    """Step of the episode at which it begins."""
    labels: int | None = None
    """Episodes on whose truth the read-outs are fitted. Default: all but those held out."""
    seed: int = 0
    """Seed of the search, and of the split by episode."""
    out: Path | None = None
    """File for the result, as JSON."""

    def run(self) -> Outcome:
        """Plan."""
        existing(self.data, "a dataset folder")
        import armillary as arm
        from armillary.core.files import write_json
        from armillary.services.value_goals import ValueGoal, value_cost

        if not self.goal and self.goal_step is None:
            raise ConfigError("A plan needs a goal: --goal NAME=VALUE, --goal-step STEP, or both.")
        search = self.planning()
        goals = [ValueGoal.parse(text) for text in self.goal]
        if len({goal.target for goal in goals}) < len(goals):
            raise ConfigError("--goal takes each name once; put all its values into one goal.")
        found = arm.open_dataset(self.data)
        episode = found[self.episode]
        model = arm.load_model(self.model)
        reads = [
            arm.read_out(model, found, goal.target, episodes=self.labels, seed=self.seed)
            for goal in goals
        ]
        picture = None if self.goal_step is None else episode.observation(self.goal_step)
        now = episode.observation(self.step)
        plan = arm.plan(
            model,
            now,
            picture,
            cost=value_cost(list(zip(reads, goals, strict=True))) if goals else None,
            planner=search.planner,
            seed=self.seed,
            **search.settings,
        )
        values = {
            goal.target: _value(where, goal, plan) for where, goal in zip(reads, goals, strict=True)
        }
        value = {
            "episode": self.episode,
            "step": self.step,
            "goal_step": self.goal_step,
            "actions": plan.actions.tolist(),
            "values": values,
            "distances": plan.distances.tolist(),
            "cost": plan.cost,
            "model_steps": plan.model_steps,
            "planner": self.planner,
        }
        said = [
            f"{len(plan.actions)} actions, {plan.model_steps:,} model steps. Nothing was executed."
        ]
        said += [_trust(one) for one in values.values()]
        if self.out is not None:
            write_json(self.out, plain(value))
            said.append(f"Written to {self.out}.")
        return Outcome(value, tuple(said), _steps(value))


def _value(where: Any, goal: Any, plan: Any) -> dict[str, Any]:
    """Return what a read-out says of a plan, and how far it can be trusted."""
    seen = where(plan.predicted)
    return {
        "goal": str(goal),
        "r2": where.r2,
        "error": where.error,
        "predicted": seen.tolist(),
        "outside": goal.outside(seen).tolist(),
    }


def _trust(one: Mapping[str, Any]) -> str:
    """Say how near the plan comes to a value, and how far its read-out can be trusted."""
    text = (
        f"{one['goal']}: ends {one['outside'][-1]:.3g} away. On held-out episodes the read-out "
        f"errs by {one['error']:.3g} (R2 {one['r2']:.2f})."
    )
    poor = not one["r2"] >= 0.5  # NaN, too
    return f"{text} That is poor: do not rely on it." if poor else text


def _steps(value: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a row for each model step."""
    rows = []
    for step, distance in enumerate(value["distances"]):
        row = {"model step": str(step)}
        for name, one in value["values"].items():
            seen = one["predicted"][step - 1] if step else []
            row[name] = ", ".join(f"{number:.3f}" for number in seen)
        row["distance" if value["goal_step"] is not None else "cost"] = f"{distance:.4g}"
        rows.append(row)
    return rows

"""Compare: studies of world models beside other kinds of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import subcommand

from armillary.cli.again import again
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Words(Command):
    """Compare a world model with language models that were told the same episodes in words.

    For each seed, a world model is trained on the tabletop's pictures. Then language models are
    trained on the same episodes as text, for as many core seconds. All are judged on next states,
    on possible and impossible steps, and on goals reached by the same planner. What is compared
    first, and by how much, stands in src/armillary/words/registration.json. All seeds take about
    five hours of one core. Finished parts in the folder are used again.

    e.g. armillary compare words --out out/words --json
    """

    out: Path
    """Folder of the study."""
    data: Path | None = None
    """Recording of the tabletop to learn from. Default: a new one."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of training. All are reported."""
    episodes: int = 2000
    """Episodes to learn from, if they are recorded."""
    judged: int = 200
    """Episodes to judge on, recorded with another seed."""
    judged_seed: int = 3300
    """Seed of that recording."""
    world_steps: int | None = None
    """Training steps of the world model. Default: those of the recipe."""
    form: str = "digits"
    """How states are written: digits or sentence."""
    arms: tuple[str, ...] = ("T-probe", "T-true", "T-noise")
    """Language models that are trained, by what they are told."""
    goals: int = 40
    """Goals that each seed is asked to reach."""
    candidates: int = 32
    """Candidate plans in each round of the planner."""
    pairs: int = 100
    """Possible and impossible steps of each kind."""
    record: Path | None = None
    """File for a copy of the result."""

    def run(self) -> Outcome:
        """Train and judge."""
        from armillary.core.files import write_json
        from armillary.words import WordsConfig, compare_words

        config = WordsConfig(
            seeds=self.seeds,
            episodes=self.episodes,
            judged=self.judged,
            judged_seed=self.judged_seed,
            world_steps=self.world_steps,
            form=self.form,
            arms=self.arms,
            goals=self.goals,
            candidates=self.candidates,
            pairs=self.pairs,
        )
        command = again(self, "compare", "words")
        value = compare_words(self.out, config, self.data, bar, command)
        if self.record is not None:
            write_json(self.record, value)
        return Outcome(value, (_sentence(value["primary"]),), _rows(value))


Compare = Annotated[Words, subcommand("words")]


def _sentence(primary: Mapping[str, Any]) -> str:
    if "interval" not in primary:
        return f"Primary measure: {primary['verdict']}."
    low, high = primary["interval"]
    first, second = primary["arms"]
    return (
        f"{first} minus {second}, state error {primary['horizon']} steps ahead: "
        f"{primary['difference']:.2f} cm ({low:.2f} to {high:.2f}); margin "
        f"{primary['margin_cm']:g} cm: {primary['verdict']}."
    )


def _rows(value: Mapping[str, Any]) -> list[dict[str, str]]:
    pairs, goals = value["pairs"]["accuracy"], value["goals"]
    return [
        {
            "who": arm,
            **{f"cm at {ahead}": f"{row['mean']:.2f}" for ahead, row in rows.items()},
            "possible or not": _percent(pairs.get(arm, {}).get("held_and_moved"), "mean"),
            "goals": _percent(goals.get(arm), "rate"),
        }
        for arm, rows in value["state_error_cm"].items()
    ]


def _percent(row: Mapping[str, Any] | None, name: str) -> str:
    return "" if row is None else f"{100 * row[name]:.0f} %"

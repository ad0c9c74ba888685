"""Compare: studies of world models beside other kinds of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, subcommand

from armillary.cli.again import again
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, existing
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Words(Command):
    """Compare a world model with language models that read the same episodes in words.

    For each seed, a world model is trained on the tabletop's pictures. Then language models are
    trained on the same episodes as text, for as many core seconds. All are judged on next states,
    on possible and impossible steps, and on goals reached by the same planner. What is compared
    first, and by how much, stands in src/armillary/words/registration.json. A seed takes about 70
    minutes of one core. Finished parts in the folder are used again.

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
    variants: tuple[str, ...] = ("T-probe", "T-true", "T-noise")
    """Language models that are trained, by what they read."""
    goals: int = 60
    """Goals that each seed is asked to reach."""
    candidates: int = 16
    """Candidate plans in each round of the planner."""
    rounds: int = 2
    """Rounds of the planner."""
    plan_steps: int = 5
    """Actions of a plan."""
    replan: int = 5
    """Actions that are carried out before the next decision."""
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
            variants=self.variants,
            goals=self.goals,
            candidates=self.candidates,
            rounds=self.rounds,
            plan_steps=self.plan_steps,
            replan=self.replan,
            pairs=self.pairs,
        )
        command = again(self, "compare", "words")
        value = compare_words(self.out, config, self.data, bar, command)
        if self.record is not None:
            write_json(self.record, value)
        return Outcome(value, (_sentence(value["primary"]),), _rows(value))


@dataclass(frozen=True, kw_only=True)
class Ask(Command):
    """Ask a language model which of two next states is possible.

    The questions are made from a recording of the tabletop: a recorded step, and the same with the
    object elsewhere. They are described in sentences from the simulator's states. Each is asked in
    both orders. The model is a GGUF file on this machine, or behind an OpenAI-compatible server.

    e.g. armillary compare ask out/words/judged --out out/ask --gguf SmolLM2-135M.gguf --json
    """

    dataset: Positional[Path]
    """Recording of the tabletop."""
    out: Path
    """Folder for the answers. What is there is not asked again."""
    gguf: Path | None = None
    """Model file to run on this machine."""
    url: str = ""
    """Address of a server, e.g. http://127.0.0.1:8080/v1."""
    model: str = ""
    """Name of the model on the server."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable with the key of the server. Not needed for a local one."""
    pairs: int = 30
    """Questions of each kind."""
    seed: int = 3300
    """Seed of the draw of questions."""

    def run(self) -> Outcome:
        """Ask."""
        existing(self.dataset, "a dataset folder")
        if (self.gguf is None) == (not (self.url and self.model)):
            raise ConfigError("armillary compare ask needs either --gguf, or --url and --model.")
        from armillary.words.asking import ask_about
        from armillary.words.endpoint import Endpoint, key_from, local_server

        with bar("asking") as progress:
            if self.gguf is not None:
                with local_server(self.gguf) as endpoint:
                    value = ask_about(
                        self.dataset, endpoint, self.out, self.pairs, self.seed, progress
                    )
            else:
                endpoint = Endpoint(self.url, self.model, key_from(self.key_variable))
                value = ask_about(self.dataset, endpoint, self.out, self.pairs, self.seed, progress)
        rows = [_asked_row(kind, row) for kind, row in value["accuracy"].items()]
        said = f"{value['model']} read {value['described_by']}. Floor: 50 %."
        return Outcome({**value, "command": again(self, "compare", "ask")}, (said,), rows)


Compare = Annotated[Words, subcommand("words")] | Annotated[Ask, subcommand("ask")]


def _asked_row(kind: str, row: Mapping[str, Any]) -> dict[str, str]:
    low, high = row["wilson95"]
    return {
        "kind": kind.replace("_", " "),
        "n": str(row["n"]),
        "right": f"{100 * row['rate']:.0f} %",
        "95 % interval": f"{100 * low:.0f} to {100 * high:.0f} %",
    }


def _sentence(primary: Mapping[str, Any]) -> str:
    if "interval" not in primary:
        return f"Primary measure: {primary['verdict']}."
    low, high = primary["interval"]
    first, second = primary["variants"]
    return (
        f"{first} minus {second}, state error {primary['horizon']} steps ahead: "
        f"{primary['difference']:.2f} cm ({low:.2f} to {high:.2f}); margin "
        f"{primary['margin_cm']:g} cm: {primary['verdict']}."
    )


def _rows(value: Mapping[str, Any]) -> list[dict[str, str]]:
    pairs, goals = value["pairs"]["accuracy"], value["goals"]
    return [
        {
            "who": variant,
            **{f"cm at {ahead}": f"{row['mean']:.2f}" for ahead, row in rows.items()},
            "possible or not": _percent(pairs.get(variant, {}).get("held_and_moved"), "mean"),
            "goals": _percent(goals.get(variant), "rate"),
        }
        for variant, rows in value["state_error_cm"].items()
    ]


def _percent(row: Mapping[str, Any] | None, name: str) -> str:
    return "" if row is None else f"{100 * row[name]:.0f} %"

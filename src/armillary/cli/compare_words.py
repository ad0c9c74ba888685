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

    For each seed, a world model is trained on pictures of the tabletop. Then language models are
    trained on the same episodes as text, for as many core seconds. All are judged on next states,
    on possible and impossible steps, and on goals reached by the same planner. What is compared
    first, and by how much, stands in src/armillary/words/registration*.json. A seed takes 50 to 65
    minutes of one core. Finished parts in the folder are used again. The scene push_t needs the
    package stable-worldmodel. Only tabletop has goals.

    e.g. armillary compare words --out out/words --json
    """

    out: Path
    """Folder of the study."""
    scene: str = "tabletop"
    """World whose states are written as text: tabletop, push_t or two_rooms."""
    data: Path | None = None
    """Recording of the scene to learn from. Default: a new one."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of training. All are reported."""
    episodes: int = 2000
    """Episodes to learn from, if they are recorded."""
    judged: int = 200
    """Episodes to judge on, recorded with another seed."""
    judged_seed: int = 3300
    """Seed of that recording."""
    steps: int = 24
    """Steps of each recorded episode."""
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
            scene=self.scene,
            seeds=self.seeds,
            episodes=self.episodes,
            judged=self.judged,
            judged_seed=self.judged_seed,
            steps=self.steps,
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
        return Outcome(
            value, (_sentence(value["primary"]), f"Written: {self.out / 'page.html'}"), _rows(value)
        )


@dataclass(frozen=True, kw_only=True)
class Ask(Command):
    """Ask a language model that has read much else what it knows of the table.

    The questions are made from a recording of the tabletop, from the simulator's states. Which of
    two next states is possible, in two wordings and both orders? Which state comes after one and
    four steps? Which of nine moves leads to the goal? And it writes the simulator, which then
    predicts and plans. What it writes is interpreted in a small part of Python, and never executed.

    The model is a GGUF file on this machine, or behind an OpenAI-compatible server. With --code no
    model is asked, and a written simulator is judged. A folder OUT/asked/NAME becomes part of the
    comparison in OUT.

    e.g. armillary compare ask out/words/judged --out out/words/asked/smollm2 --gguf SmolLM2.gguf
    """

    dataset: Positional[Path]
    """Recording of the tabletop."""
    out: Path
    """Folder for the answers and result.json. What is there is not asked again."""
    gguf: Path | None = None
    """Model file to run on this machine."""
    url: str = ""
    """Address of a server, e.g. http://127.0.0.1:8080/v1."""
    model: str = ""
    """Name of the model on the server, or of who wrote the code."""
    code: Path | None = None
    """File with a function step(before, now, action), in place of a model."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable with the key of the server. Not needed for a local one."""
    asks: tuple[str, ...] = ("pairs", "next", "goals", "code")
    """What is asked."""
    pairs: int = 30
    """Questions of each kind, each in two wordings and both orders."""
    windows: int = 50
    """Moments from which the next states are asked."""
    goals: int = 20
    """Goals to reach by choosing moves."""
    code_goals: int = 60
    """Goals towards which the written simulator plans."""
    seed: int = 3300
    """Seed of the draws."""
    frames: bool = False
    """Show pictures before each question about a pair, for a model that sees."""

    def run(self) -> Outcome:
        """Ask."""
        existing(self.dataset, "a dataset folder")
        ways = (self.gguf is not None, bool(self.url and self.model), self.code is not None)
        if sum(ways) != 1:
            raise ConfigError(
                "armillary compare ask needs one of --gguf, --url with --model, and --code."
            )
        from armillary.core.files import read_json, write_json

        value = {**self._asked(), "command": again(self, "compare", "ask")}
        file = self.out / "result.json"
        before = read_json(file) if file.is_file() else {}
        if before.get("model") == value["model"]:
            value = {**before, **value}  # what was asked in another run stays
        write_json(file, value)
        said = f"{value['model']} read {value['described_by']}."
        return Outcome(value, (said, f"Written: {self.out / 'result.json'}"), _asked_rows(value))

    def _asked(self) -> dict[str, Any]:
        from armillary.words.asking import AskConfig, ask_about, judge_file
        from armillary.words.endpoint import Endpoint, key_from, local_server

        config = AskConfig(
            self.asks,
            self.pairs,
            self.windows,
            self.goals,
            self.code_goals,
            self.seed,
            self.frames,
        )
        if self.code is not None:
            with bar("acting with the written simulator") as progress:
                return judge_file(self.code, self.dataset, self.model, config, progress)
        if self.gguf is not None:
            with local_server(self.gguf) as endpoint:
                return ask_about(self.dataset, endpoint, self.out, config, bar)
        endpoint = Endpoint(self.url, self.model, key_from(self.key_variable))
        return ask_about(self.dataset, endpoint, self.out, config, bar)


Compare = Annotated[Words, subcommand("words")] | Annotated[Ask, subcommand("ask")]


def _asked_rows(value: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a row for each thing that was asked and could be answered."""
    rows = []
    code = value.get("code", {})
    for asked, part in (("pairs", value.get("pairs")), ("code, pairs", code.get("pairs"))):
        for kind, row in (part or {}).get("accuracy", {}).items():
            rows.append(_share_row(f"{asked}: {kind.replace('_', ' ')}", row, "50 %"))
    nexts = value.get("next", {})
    for asked, part in (("next", nexts), ("code, next", code.get("state_error_cm", {}))):
        for ahead, row in part.items():
            floor = f"{row['copy_last']:.1f} cm" if "copy_last" in row else ""
            rows.append(
                {
                    "asked": f"{asked}: {ahead} steps",
                    "n": str(row.get("n", code.get("n"))),
                    "answered": f"{row['mean']:.1f} cm",
                    "95 %": "{:.1f} to {:.1f}".format(*row["interval"]),
                    "floor": floor,
                }
            )
    goals = value.get("goals")
    if goals:
        floor = f"{100 * goals['random']['rate']:.0f} %, best {100 * goals['best']['rate']:.0f} %"
        rows.append(_share_row("goals by moves", goals["model"], floor))
    if "goals" in code:
        rows.append(_share_row("code, goals", code["goals"], ""))
    return rows


def _share_row(asked: str, row: Mapping[str, Any], floor: str) -> dict[str, str]:
    low, high = row["wilson95"]
    return {
        "asked": asked,
        "n": str(row["n"]),
        "answered": f"{100 * row['rate']:.0f} %",
        "95 %": f"{100 * low:.0f} to {100 * high:.0f}",
        "floor": floor,
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

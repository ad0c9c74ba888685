"""Asking: what a language model that has read much else knows of the table.

It is asked four things (``questions.py``), and each is measured as the variants of a study are:

    pairs  possible or impossible, the first ones of a study; the score is summed over wordings and
           orders, so that a liking for A or B cancels
    next   the state after one and after four steps, written freely; what cannot be read is worst
    goals  a choice among nine moves, again and again; beside it a choice at random and the best one
    code   it writes the simulator, which then predicts, tells pairs apart and plans

    score of a pair = sum over questions of log p(letter of the recorded step) - log p(the other)

Everything is described from the simulator's states, which is privileged. Three episodes, in which
the object is pushed, are shown as solved examples; they are not judged.

Axes: E episodes, T steps, B goals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from armillary.core.errors import ConfigError, DatasetError, FormatError
from armillary.core.progress import Bars, Progress, no_bars
from armillary.core.rng import generator
from armillary.core.statistics import wilson_interval
from armillary.data import Dataset, open_dataset
from armillary.report.images import png_uri
from armillary.words.acting import Actor, Stage, act_with, goals_of, staged
from armillary.words.endpoint import Asker, Endpoint, letter_scores, text_of
from armillary.words.experience import Experience, stacked
from armillary.words.floors import copy_last
from armillary.words.language import ACTION_S, kept_on_table
from armillary.words.pairs import KINDS, Pairs, draw_pairs, right_by_distance
from armillary.words.predicting import errors_cm, moments_of
from armillary.words.questions import (
    LETTERS,
    MOVE_M_S,
    MOVE_STEPS,
    MOVES,
    code_question,
    move_question,
    next_question,
    pair_questions,
    read_state,
)
from armillary.words.scenes import SCENES
from armillary.words.settings import HISTORY, WordsConfig
from armillary.words.statistics import mean_row
from armillary.words.variants import Moments
from armillary.words.written_code import MOST_CHARACTERS, WrittenSimulator

ASKED = ("pairs", "next", "goals", "code")
_NEXT_STEPS = (1, 4)
_EXAMPLES, _EXAMPLE_CM, _CODE_STEPS = 3, 3.0, 14
_STATE_TOKENS, _CODE_TOKENS = 64, 1500
_KEPT_EXAMPLES = 5
_PRIVILEGED = "the simulator's states (privileged)"


@dataclass(frozen=True)
class AskConfig:
    """How much is asked.

    Attributes:
        asks: some of ``ASKED``.
        pairs: of each kind.
        windows: of which the next state is asked.
        goals: to reach by choosing moves.
        code_goals: that a written simulator plans towards, as the variants of a study do.
        seed: of the draws; with that of a study they are the first of its pairs and moments.
        frames: whether the pictures of the steps are shown before a question about a pair, for
            a model that sees.
    """

    asks: tuple[str, ...] = ASKED
    pairs: int = 30
    windows: int = 50
    goals: int = 20
    code_goals: int = 60
    seed: int = 3300
    frames: bool = False

    def __post_init__(self) -> None:
        if not self.asks or not {*self.asks} <= {*ASKED}:
            raise ConfigError(f"compare ask asks {', '.join(ASKED)}; got {', '.join(self.asks)}.")
        if min(self.pairs, self.windows, self.goals, self.code_goals) < 1:
            raise ConfigError("compare ask needs pairs, windows and goals of at least 1.")


@dataclass(frozen=True)
class Shown:
    """A recording, of which some episodes are shown as examples and the others are judged."""

    truth: Experience
    examples: Int[np.ndarray, " X"]

    @classmethod
    def of(cls, truth: Experience) -> Shown:
        """Take the first episodes in which the object is pushed by 3 cm as examples.

        Raises:
            DatasetError: there are too few, or nothing else is left.
        """
        way = np.linalg.norm(np.diff(truth.states[..., 2:], axis=1), axis=-1).sum(axis=1)
        pushed = np.flatnonzero(100 * way >= _EXAMPLE_CM)[:_EXAMPLES]
        short = truth.states.shape[1] < HISTORY + max(_NEXT_STEPS)
        if len(pushed) < _EXAMPLES or len(truth.states) <= _EXAMPLES or short:
            raise DatasetError(
                f"compare ask needs {_EXAMPLES} episodes in which the object is pushed by "
                f"{_EXAMPLE_CM:.0f} cm, and others, of {HISTORY + max(_NEXT_STEPS)} steps or more; "
                "record them with armillary record tabletop."
            )
        return cls(truth, pushed)

    def judged(self, episodes: Int[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
        """Tell which episodes are no examples."""
        return ~np.isin(episodes, self.examples)

    def window(self, episode: int, ahead: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an example: states, the last ``ahead`` steps later, and actions; with a push."""
        states = self.truth.states[episode]
        moved = np.linalg.norm(states[ahead:, 2:] - states[:-ahead, 2:], axis=-1)
        now = HISTORY - 1 + int(moved[HISTORY - 1 :].argmax())
        seen = states[now + 1 - HISTORY : now + 1]
        actions = self.truth.actions[episode, now + 1 - HISTORY : now + ahead]
        return np.concatenate([seen, states[now + ahead][None]]), actions

    def push(self, episode: int) -> tuple[np.ndarray, np.ndarray]:
        """Return states and actions around the fastest push of an episode."""
        states = self.truth.states[episode]
        fastest = int(np.linalg.norm(np.diff(states[:, 2:], axis=0), axis=-1).argmax())
        start = max(0, min(fastest - _CODE_STEPS // 2, len(states) - _CODE_STEPS))
        part = slice(start, start + _CODE_STEPS)
        return states[part], self.truth.actions[episode, part]


def ask_about(
    data: Path | str | Dataset,
    endpoint: Endpoint,
    out: Path,
    config: AskConfig | None = None,
    bars: Bars = no_bars,
) -> dict[str, Any]:
    """Ask a language model about a recording of the tabletop.

    Args:
        data: the recording, or its folder.
        endpoint: who is asked.
        out: folder of the answers; what is there is not asked again.
        config: how much is asked.
        bars: makes a progress bar for a stage.

    Returns:
        ``model``, ``described_by``, for each thing that is asked a part (see the functions
        below), ``asked_now`` and ``tokens``.

    Raises:
        ConfigError: the server cannot be reached.
        DatasetError: the recording lacks states, or its episodes differ in length.
        FormatError: an answer is not that of a chat completion.
    """
    config = config or AskConfig()
    dataset = open_dataset(data)
    shown = Shown.of(states_of(dataset))
    asker = Asker(endpoint, out)
    parts: Mapping[str, Callable[[Progress], dict[str, Any]]] = {
        "pairs": lambda progress: ask_pairs(
            asker,
            some_pairs(shown.truth, config),
            shown.truth,
            progress,
            dataset if config.frames else None,
        ),
        "next": lambda progress: ask_next(asker, shown, config.windows, config.seed, progress),
        "goals": lambda progress: ask_moves(asker, config.goals, progress),
        "code": lambda progress: ask_code(asker, shown, config, progress),
    }
    found: dict[str, Any] = {"model": endpoint.model, "described_by": _PRIVILEGED}
    for name in config.asks:
        with bars(f"asking {name}") as progress:
            found[name] = parts[name](progress)
    return {**found, "asked_now": asker.asked, "tokens": asker.tokens}


def _moments(truth: Experience, seed: int) -> tuple[Moments, tuple[int, ...]]:
    """Return the moments of a study, and the horizons that the episodes are long enough for."""
    episodes, steps = truth.states.shape[:2]
    horizons = WordsConfig(steps=steps).horizons
    return moments_of((episodes, steps), horizons, seed), horizons


def some_pairs(truth: Experience, config: AskConfig) -> Pairs:
    """Return the first pairs of each kind that a study draws."""
    drawn = draw_pairs(truth, WordsConfig().pairs, config.seed)
    rows = [np.flatnonzero(drawn.kind == kind)[: config.pairs] for kind in KINDS]
    return drawn.of(np.concatenate(rows))


def states_of(dataset: Dataset) -> Experience:
    """Return recorded states and actions without a look at pictures.

    Raises:
        DatasetError: it lacks them, or its episodes differ in length.
    """
    scene = SCENES["tabletop"]  # the questions are about it
    episodes = [dataset.read_low(index) for index in range(len(dataset))]
    arrays = {
        name: [one.streams[name].values for one in episodes if name in one.streams]
        for name in (scene.pusher, *scene.thing)
    }
    arrays["actions"] = [one.actions for one in episodes if one.actions is not None]
    return stacked(scene, arrays, len(episodes))


def ask_pairs(
    asker: Asker,
    pairs: Pairs,
    truth: Experience,
    progress: Progress,
    pictures: Dataset | None = None,
) -> dict[str, Any]:
    """Ask about every pair in both wordings and orders.

    Args:
        asker: who is asked.
        pairs: steps that were recorded, and what makes them impossible.
        truth: recorded states.
        progress: called after each pair.
        pictures: recording whose pictures of the seen steps are shown; None for words alone.

    Returns:
        ``floor``, whether ``pictures`` were shown, and ``accuracy`` by kind with ``n``, ``rate``
        and ``wilson95``.
    """
    scores, questions = [], pair_questions(pairs, truth)
    for number, some in enumerate(questions, 1):
        score, seen = 0.0, []
        if pictures is not None:
            episode, past = pairs.moments.episode[number - 1], pairs.moments.past[number - 1]
            camera = next(iter(pictures.cameras))
            frames = pictures.read(int(episode)).streams[camera].values
            seen = [png_uri(frames[step]) for step in past]
        about = f"The pictures show steps 1 to {len(seen)}.\n" if seen else ""
        for question, right in some:
            first, second = letter_scores(asker(about + question, 1, seen), "AB")
            score += (first - second) * (1 if right == "A" else -1)
        scores.append(score)
        progress(number, len(questions))
    right = (np.sign(scores) + 1) / 2
    accuracy = _accuracy(pairs.kind, right)
    return {"floor": 0.5, "pictures": pictures is not None, "accuracy": accuracy}


def ask_next(
    asker: Asker, shown: Shown, windows: int, seed: int, progress: Progress
) -> dict[str, Any]:
    """Ask for the state one and four steps later.

    Returns:
        By steps ahead: ``mean`` error in cm with its interval, ``copy_last`` of the same windows,
        ``n``, ``unparsable`` and ``examples`` of what was written and could not be read.
    """
    moments, _ = _moments(shown.truth, seed)
    moments = moments.of(np.flatnonzero(shown.judged(moments.episode))[:windows])
    states, taken = moments.states(shown.truth), moments.taken(shown.truth)
    plans, later = moments.plans(shown.truth), moments.later(shown.truth)
    found, done = {}, 0
    for ahead in _NEXT_STEPS:
        examples = [shown.window(int(episode), ahead) for episode in shown.examples]
        acts = np.concatenate([taken, plans[:, :ahead]], axis=1)
        texts = []
        for seen, own in zip(states, acts, strict=True):
            texts.append(text_of(asker(next_question(examples, seen, own), _STATE_TOKENS)))
            done += 1
            progress(done, len(_NEXT_STEPS) * len(states))
        read = np.stack([read_state(text) for text in texts])
        unread = np.isnan(read).any(axis=1)
        target = later[:, ahead - 1 : ahead]
        copied = copy_last(states, taken, plans)[:, :1]
        found[str(ahead)] = {
            **_error_row(read[:, None], target),
            "copy_last": _error_row(copied, target)["mean"],
            "n": len(states),
            "unparsable": int(unread.sum()),
            "examples": [texts[row] for row in np.flatnonzero(unread)[:_KEPT_EXAMPLES]],
        }
    return found


def ask_moves(asker: Asker, goals: int, progress: Progress) -> dict[str, Any]:
    """Let the model choose among nine moves until the time is over.

    Returns:
        For ``model``, ``random`` and ``best`` choices: ``reached``, ``n``, ``rate``, ``wilson95``.
    """
    manifest = goals_of(WordsConfig(goals=goals), 0)
    limit = manifest.success_distance
    turns = manifest.budget // MOVE_STEPS * goals

    def asked(goal: int, turn: int, now: np.ndarray, wanted: np.ndarray) -> str:
        order = _order(goal, turn)
        answer = asker(move_question(_solved(order), now, wanted, order))
        progress(turn * goals + goal + 1, turns)
        scores = letter_scores(answer, LETTERS)
        return order[int(np.argmax(scores))] if max(scores) != min(scores) else "it rests"

    def drawn(goal: int, turn: int, now: np.ndarray, wanted: np.ndarray) -> str:
        return _order(goal, turn)[0]

    with staged(manifest) as stage:
        return {
            name: _reached(_choosing(stage, choose), limit)
            for name, choose in (
                ("model", asked),
                ("random", drawn),
                ("best", lambda goal, turn, now, wanted: best_move(now, wanted)),
            )
        }


def best_move(now: Float[np.ndarray, " 2"], goal: Float[np.ndarray, " 2"]) -> str:
    """Return the move that ends nearest to a goal."""
    ends = {name: now + MOVE_STEPS * ACTION_S * _velocity(name) for name in MOVES}
    return min(ends, key=lambda name: float(np.linalg.norm(ends[name] - goal)))


def _choosing(
    stage: Stage, choose: Callable[[int, int, np.ndarray, np.ndarray], str]
) -> Float[np.ndarray, " B"]:
    """Return how far each world is from its goal after moves that are chosen."""
    stage.restart()
    wanted = np.stack([goal.truth["pusher_xy"] for goal in stage.goals]).astype(np.float64)
    for turn in range(stage.manifest.budget // MOVE_STEPS):
        now = stage.states()[:, :2]
        for goal, world in enumerate(stage.worlds):
            move = _velocity(choose(goal, turn, now[goal], wanted[goal]))
            for _ in range(MOVE_STEPS):
                world.advance(move)
    return stage.far()


def _velocity(move: str) -> Float[np.ndarray, " 2"]:
    way = np.array(MOVES[move], np.float64)
    return way * MOVE_M_S / max(1.0, float(np.linalg.norm(way)))


def _order(goal: int, turn: int) -> list[str]:
    """Return moves in a drawn order, so that a liking for a letter is no liking for a move."""
    names = list(MOVES)
    return [names[at] for at in generator("words.moves", goal, turn).permutation(len(names))]


def _solved(order: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """Return three solved choices, the same in every question."""
    ends = ([0.05, 0.1], [-0.1, 0.1]), ([-0.1, -0.05], [-0.09, 0.12]), ([0.0, 0.1], [0.15, -0.05])
    pairs = [(np.array(now), np.array(goal)) for now, goal in ends]
    return [(now, goal, best_move(now, goal)) for now, goal in pairs]


def ask_code(asker: Asker, shown: Shown, config: AskConfig, progress: Progress) -> dict[str, Any]:
    """Ask for a simulator, and judge what is written. Returns as ``judge_code``."""
    examples = [shown.push(int(episode)) for episode in shown.examples]
    text = text_of(asker(code_question(examples), _CODE_TOKENS))
    return judge_code(text, shown, config, progress)


def judge_code(text: str, shown: Shown, config: AskConfig, progress: Progress) -> dict[str, Any]:
    """Measure a written simulator as the variants of a study are measured.

    Args:
        text: that holds it.
        shown: recording.
        config: how many pairs, and the seed of the draws.
        progress: called after each step of acting.

    Returns:
        ``text``; ``refused``, why it cannot be read, or None. If it can: ``examples``, the episodes
        that were shown and are not judged; ``state_error_cm`` by
        steps ahead, ``n``, ``unparsable`` of ``states``, ``pairs`` and ``goals``.
    """
    try:
        simulator = WrittenSimulator.read(text)
    except FormatError as error:
        return {"text": text, "refused": str(error)}
    study, truth = WordsConfig(goals=config.code_goals), shown.truth
    moments, horizons = _moments(truth, config.seed)
    predicted = kept_on_table(simulator.ahead(moments.states(truth), moments.plans(truth)))
    judged = shown.judged(moments.episode)
    target = moments.later(truth)
    unread = np.isnan(predicted[judged]).any(axis=-1)
    pairs = some_pairs(truth, config)
    right = judge_written(simulator, pairs, truth)
    kept = shown.judged(pairs.moments.episode)
    manifest = goals_of(study, 0)
    with staged(manifest) as stage:
        acted = act_with(_code_actor(simulator), stage, study, study.candidates, 0, progress)
    return {
        "text": text,
        "refused": None,
        "examples": shown.examples.tolist(),
        "state_error_cm": {
            str(ahead): _error_row(
                predicted[judged, ahead - 1 : ahead], target[judged, ahead - 1 : ahead]
            )
            for ahead in horizons
        },
        "n": int(judged.sum()),
        "unparsable": int(unread.sum()),
        "states": int(unread.size),
        "pairs": {"floor": 0.5, "accuracy": _accuracy(pairs.kind[kept], right[kept])},
        "goals": _reached(acted.final_m, manifest.success_distance),
    }


def judge_written(
    simulator: WrittenSimulator, pairs: Pairs, source: Experience
) -> Float[np.ndarray, " P"]:
    """Return how right a written simulator is about each pair; 0 where it fails.

    Args:
        simulator: it.
        pairs: drawn.
        source: of the states that it reads.
    """
    found = simulator.ahead(pairs.moments.states(source), pairs.moments.plans(source))[:, 0]
    found = kept_on_table(found)
    right = right_by_distance(np.nan_to_num(found), pairs, source)
    return np.where(np.isnan(found).any(axis=1), 0.0, right)


def written_of(asked: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the simulators that were written and can be read, by the name of who was asked."""
    codes = {name: result.get("code") for name, result in asked.items()}
    return {f"code {name}": code for name, code in codes.items() if code and not code["refused"]}


def judge_file(
    file: Path, data: Path, who: str, config: AskConfig, progress: Progress
) -> dict[str, Any]:
    """Judge a simulator that somebody wrote. Returns ``model``, ``described_by`` and ``code``.

    Args:
        file: that holds it.
        data: folder of a recording of the tabletop.
        who: wrote it; the file's name if empty.
        config: how many pairs, and the seed of the draws.
        progress: called after each step of acting.

    Raises:
        ConfigError: the file cannot be read, or it cannot be run at all.
        DatasetError: the recording lacks states, or its episodes differ in length.
    """
    try:
        with file.open(encoding="utf-8") as stream:
            text = stream.read(MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read as text ({error}).") from error
    judged = judge_code(text, Shown.of(states_of(open_dataset(data))), config, progress)
    if judged["refused"]:
        raise ConfigError(f"{file}: {judged['refused']}")
    return {"model": who or file.name, "described_by": _PRIVILEGED, "code": judged}


def _code_actor(simulator: WrittenSimulator) -> Actor:
    """Return how a written simulator acts: from true states."""

    def ahead(seen: list[Any], taken: list[np.ndarray], plans: np.ndarray) -> np.ndarray:
        B, S, L, _ = plans.shape
        states = np.stack([seen[max(0, len(seen) - 2)], seen[-1]], axis=1)
        rows = simulator.ahead(np.repeat(states, S, axis=0), plans.reshape(B * S, L, 2))
        return rows.reshape(B, S, L, 4)

    return Actor(False, lambda observations, states: states, lambda states: states[:, :2], ahead)


def _accuracy(kinds: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    groups = {kind: right[kinds == kind] for kind in KINDS}
    groups["held_and_moved"] = right[np.isin(kinds, ("held", "moved"))]
    return {
        kind: {
            "n": len(some),
            "rate": float(some.mean()),
            "wilson95": list(wilson_interval(float(some.sum()), len(some))),
        }
        for kind, some in groups.items()
        if len(some)
    }


def _reached(far: Float[np.ndarray, " B"], limit_m: float) -> dict[str, Any]:
    count = int((far <= limit_m).sum())
    return {
        "reached": count,
        "n": len(far),
        "rate": count / len(far),
        "wilson95": list(wilson_interval(count, len(far))),
    }


def _error_row(predicted: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    """Return mean error and interval, centimetres; what could not be read is the worst."""
    row = mean_row(errors_cm(kept_on_table(predicted), target)[:, 0].mean(axis=-1)[None])
    return {"mean": row["mean"], "interval": row["interval"]}

"""Contamination: did a model learn from what it is evaluated on?

Layers, from hashes to resemblance. What is the same to the bit refutes at once; what is only near
is judged by independent episodes of the same generator, drawn after the data were made, with seeds
that nobody could have known. It cannot show data that nobody lists: only fresh episodes can.

    evaluation -> hashes, tasks, prints <- training data, read once, picture by picture
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice, pairwise
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.data import Dataset
from armillary.proof.contamination_rules import (
    Rule,
    domain_rule,
    evidence_rule,
    exact_rules,
    group_rules,
    pictures_rule,
    replay_rule,
    states_rule,
)
from armillary.proof.exact import ExactIndex
from armillary.proof.footage import Footage, episode_footage, frame_digest
from armillary.proof.likeness import (
    RUN,
    Nearest,
    Prints,
    joined,
    near_copies,
    near_copy_unit,
    prints,
    run_distance,
)
from armillary.proof.neighbours import (
    LEAST_INDEPENDENT,
    Judgement,
    NearestPair,
    check_enough,
    judge,
    tasks,
)

REFUTED, UNDECIDED = 1, 4
_AT_ONCE = 256  # training pictures that are held against all prints at a time
_COPIED = 40  # independent episodes of which near copies are made, to know how near these are


@dataclass(frozen=True)
class Evaluation:
    """What a model is evaluated on.

    Attributes:
        name: its hash or folder.
        episodes: gives its episodes, anew each time it is called.
        independent: gives so many episodes of the same kind that nobody can have trained on; None
            where there are none.
        acted: gives the episodes as a policy acted them, whose trajectories are compared exactly.
    """

    name: str
    episodes: Callable[[], Iterator[Footage]]
    independent: Callable[[int], Iterator[Footage]] | None = None
    acted: Callable[[], Iterator[Footage]] = lambda: iter(())


@dataclass(frozen=True)
class Thoroughness:
    """How much is compared.

    Attributes:
        chance: seed of everything that is drawn here; not to be known when training data are made.
        independent: episodes that are drawn for comparison; at least 100.
        pictures: first pictures of an episode whose likeness is judged; at least a run of 5.
        replayed: training episodes that are begun again from the seed they claim.
    """

    chance: int
    independent: int = 400
    pictures: int = 13
    replayed: int = 16

    def __post_init__(self) -> None:
        if self.independent < 100 or self.pictures < RUN or self.replayed < 1:
            raise ConfigError(
                f"A contamination check needs at least 100 independent episodes, {RUN} pictures "
                f"and 1 replayed episode; got {self.independent}, {self.pictures} and "
                f"{self.replayed}."
            )


@dataclass(frozen=True)
class Contamination:
    """What was found.

    Attributes:
        rules: in the order of the layers.
        evaluation: name of the evaluation.
        counts: of episodes, pictures and hits.
        states: how near tasks are to recorded pairs; None where that cannot be said.
        pictures: the same for runs of pictures, 1 being as near as a near copy.
    """

    rules: tuple[Rule, ...]
    evaluation: str
    counts: dict[str, int]
    states: Judgement | None
    pictures: Judgement | None

    @property
    def exit_code(self) -> int:
        """0 nothing found, 1 contaminated, 4 cannot be decided here."""
        decisive = [rule.ok for rule in self.rules if rule.severity == "error"]
        if False in decisive:
            return REFUTED
        return UNDECIDED if None in decisive else 0

    @property
    def verdict(self) -> str:
        """The same in a word."""
        return {0: "accepted", REFUTED: "refuted", UNDECIDED: "undecided"}[self.exit_code]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"verdict": self.verdict, "exit_code": self.exit_code, **asdict(self)}

    def for_scorecard(self) -> dict[str, Any]:
        """Return what a scorecard says of it: whole numbers and decimal strings."""
        near = self.states
        exact = sum(self.counts[f"shared_{kind}"] for kind in ("frames", "trajectories", "seeds"))
        shown = {} if near is None else {"state_nn": f"{near.median[0]:.4f}"}
        if near is not None:
            shown |= {"null": f"{near.median[1]:.4f}", "p": f"{near.p_value:.4f}"}
        return {"exact": exact, **shown}


def check_contamination(
    training: Dataset,
    evaluation: Evaluation,
    how: Thoroughness,
    progress: Progress = silent,
) -> Contamination:
    """Hold training data against an evaluation: exact hashes, seeds, groups, neighbours, likeness.

    Memory grows with the evaluation, not with the training data's pictures.

    Args:
        training: the dataset.
        evaluation: what the model is evaluated on.
        how: how much is compared.
        progress: told about each training episode.

    Raises:
        DatasetError: the training data, or the evaluation's, cannot be read.
        ConfigError: the evaluation has no episode, or fewer than 100 independent ones.
    """
    own, others = _Side(how.pictures), _Side(how.pictures)
    for footage in evaluation.acted():
        own.exact.hold_states(footage)
    for footage in evaluation.episodes():
        own.keep(footage)
    if not own.footage:
        raise ConfigError(f"{evaluation.name}: the evaluation has no episode to compare with.")
    rng = generator("contamination.copies", how.chance)
    for footage in evaluation.independent(how.independent) if evaluation.independent else ():
        others.keep(footage, rng)
    if others.footage:
        check_enough(len(others.footage))  # before all training data pass by
    passing = _Passing(episode_footage(training, 0), own, others)
    for index in range(len(training)):
        passing.see(index, episode_footage(training, index))
        progress(index + 1, len(training))
    passing.flush()
    states, pictures = passing.judged()
    return Contamination(
        rules=_rules(training, passing, own, others, how),
        evaluation=evaluation.name,
        counts={
            "training_episodes": len(training),
            "training_pictures": passing.pictures,
            "evaluation_episodes": len(own.footage),
            "independent_episodes": len(others.footage),
            "pictures_left_out_as_common": len(own.exact.common),
            **{f"shared_{kind}": own.exact.hits.counts[kind] for kind in own.exact.held},
        },
        states=states,
        pictures=pictures,
    )


def _rules(
    training: Dataset, passing: _Passing, own: _Side, others: _Side, how: Thoroughness
) -> tuple[Rule, ...]:
    names = [footage.name for footage in own.footage]
    count, (near, like) = len(names), passing.distances()
    states, pictures = passing.judged()
    theirs = [footage.seed for footage in own.footage if footage.seed is not None]
    return (
        *exact_rules(own.exact, others.exact, (count, len(others.footage))),
        domain_rule(list(passing.seeds.values()), theirs),
        replay_rule(training, passing.seeds, how.replayed, how.chance),
        *group_rules(own.exact, passing.groups),
        states_rule(states, near[:count], near[count:], names),
        pictures_rule(pictures, like[:count], passing.unit, names),
        # training episodes without states could hold anything: copies are still told, but it is
        # no evidence that none were found
        evidence_rule((None if passing.stateless else states, pictures)),
    )


class _Side:
    """Episodes that are sought, their hashes and prints; the pictures themselves are let go."""

    def __init__(self, pictures: int) -> None:
        self._pictures = pictures
        self.exact = ExactIndex()
        self.footage: list[Footage] = []
        self.prints: list[Prints] = []
        self.copied: list[tuple[Prints, Prints]] = []

    def keep(self, footage: Footage, rng: np.random.Generator | None = None) -> None:
        """Keep an episode; with a generator also the prints of near copies, of the first ones."""
        self.exact.hold(footage)
        pictures = list(islice(footage.pictures(), self._pictures))
        self.prints.append(prints(pictures))
        if rng is not None and len(self.copied) < _COPIED and len(pictures) >= RUN:
            self.copied.append((self.prints[-1], prints(near_copies(pictures, rng))))
        self.footage.append(replace(footage, pictures=lambda: iter(())))


class _Passing:
    """Training data pass by: everything that is sought is held against them."""

    def __init__(self, first: Footage, own: _Side, others: _Side) -> None:
        everyone = [*own.footage, *others.footage]
        names = sorted(set(first.states).intersection(*(one.states for one in everyone)))
        self._count = len(own.footage)
        self._exact = (own.exact, others.exact)
        self._pairs = NearestPair(tasks(everyone, names)) if names and others.footage else None
        self.unit = near_copy_unit(others.copied) if others.copied else None
        sought = [*own.prints, *others.prints]
        self._ends = np.cumsum([0, *map(len, sought)])
        self._nearest = Nearest(joined(sought), self.unit) if self.unit else None
        self._waiting: list[np.ndarray] = []
        self.pictures = self.stateless = 0
        self.seeds: dict[int, int] = {}
        self.groups: dict[int, dict[str, str]] = {}

    def see(self, index: int, footage: Footage) -> None:
        """Hold a training episode against everything that is sought."""
        self.groups[index] = footage.groups()
        if footage.seed is not None:
            self.seeds[index] = footage.seed
        if self._pairs is not None and not self._pairs.see(footage):
            self.stateless += 1
        for exact in self._exact:
            exact.see(footage)
        for picture in footage.pictures():
            self.pictures += 1
            digest = frame_digest(picture)
            for exact in self._exact:
                exact.see_frame(digest, footage)
            self._waiting.append(picture)
            if len(self._waiting) == _AT_ONCE:
                self.flush()

    def flush(self) -> None:
        """Hold the pictures that wait against all prints."""
        if self._nearest is not None and self._waiting:
            self._nearest.see(prints(self._waiting))
        self._waiting = []

    def distances(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances of tasks and of runs of pictures, of own episodes and others."""
        lost = np.full(len(self._ends) - 1, np.inf)
        if self._nearest is None:
            runs = lost
        else:
            near = self._nearest.distances
            runs = np.array([run_distance(near[a:b]) for a, b in pairwise(self._ends)])
        return (lost if self._pairs is None else self._pairs.distances), runs

    def judged(self) -> tuple[Judgement | None, Judgement | None]:
        """Return the judgement of each; None where there is nothing to judge by."""
        states, runs = (
            _judged(distances[: self._count], distances[self._count :])
            for distances in self.distances()
        )
        return states, runs


def _judged(own: np.ndarray, others: np.ndarray) -> Judgement | None:
    """Judge what has a distance: an episode too short for a run of pictures has none."""
    which, known = np.flatnonzero(np.isfinite(own)), others[np.isfinite(others)]
    if not len(which) or len(known) < LEAST_INDEPENDENT <= len(others):
        return None
    found = judge(own[which], known)
    return replace(found, flagged=tuple(which[list(found.flagged)].tolist()))

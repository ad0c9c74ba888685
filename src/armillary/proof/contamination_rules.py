"""Rules: what was found, as named sentences that hold, do not hold, or cannot be decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from armillary.core.errors import ConfigError
from armillary.core.protocols import World
from armillary.core.rng import generator
from armillary.data import Dataset, split_episodes
from armillary.evaluation import Record
from armillary.proof.exact import STRETCH, ExactIndex
from armillary.proof.footage import how_made, is_registered, replayed_start
from armillary.proof.likeness import RUN, Unit
from armillary.proof.neighbours import (
    Judgement,
    hypergeometric_tail,
    rank_probability,
)
from armillary.worlds import make_world

Severity = Literal["error", "warning"]
ALPHA = 0.001  # of each count test: one honest evaluation in a thousand is refuted
_NEARER = 0.25  # of the nearest independent task: nearer than this is no coincidence
_EXACT = {
    "frames": "decoded pictures",
    "trajectories": f"stretches of {STRETCH} actions with their states",
    "seeds": "episode seeds",
}
# where seeds come from: recordings count below 2^52, manifests draw below 2^53, suites hash
_DOMAINS = ((1 << 52, "recordings"), (1 << 53, "manifests"))


@dataclass(frozen=True)
class Rule:
    """One thing that was checked.

    Attributes:
        name: its name.
        severity: an ``error`` decides the verdict, a ``warning`` is only told.
        ok: whether it held; None where it cannot be decided here.
        detail: a sentence.
    """

    name: str
    severity: Severity
    ok: bool | None
    detail: str


def exact_rules(exact: ExactIndex, others: ExactIndex, episodes: tuple[int, int]) -> list[Rule]:
    """Return what exact hashes say; any intersection refutes that chance does not explain.

    Where independent episodes coincide with the training data too (a world of few states), the
    evaluation must do so more often than they.

    Args:
        exact: the evaluation, after all training data were held against it.
        others: the independent episodes, likewise.
        episodes: how many the evaluation has, and how many are independent.
    """
    return [_exact_rule(kind, exact, others, episodes) for kind in _EXACT]


def _exact_rule(
    kind: str, exact: ExactIndex, others: ExactIndex, episodes: tuple[int, int]
) -> Rule:
    name, said, held = f"exact.{kind}", _EXACT[kind], exact.held[kind]
    if not held:
        return Rule(name, "warning", None, f"The evaluation shows no {said} to compare with.")
    found, chance = (len(one.hits.episodes.get(kind, ())) for one in (exact, others))
    if not found:
        detail = f"None of the training {said} is in the evaluation ({held:,} hashes)."
        return Rule(name, "error", True, detail)
    detail = (
        f"{exact.hits.counts[kind]:,} of the training {said} are in {found} of {episodes[0]} "
        f"evaluation episodes: {exact.hits.first[kind]}"
    )
    if not chance or kind == "seeds":
        return Rule(name, "error", False, detail)
    p = hypergeometric_tail(found, episodes[0], sum(episodes), found + chance)
    detail += f" So are they in {chance} of {episodes[1]} independent ones; p = {p:.2g}."
    return Rule(name, "error", p >= ALPHA, detail)


def domain_rule(training: Sequence[int], evaluation: Sequence[int]) -> Rule:
    """Return whether the two sides draw their seeds from spaces that cannot meet.

    Args:
        training: seeds.
        evaluation: seeds.
    """
    if not training or not evaluation:
        who = "The training data name" if not training else "The evaluation names"
        return Rule("seeds.domains", "warning", None, f"{who} no seeds.")
    ours, theirs = ({domain(seed) for seed in seeds} for seeds in (training, evaluation))
    names = f"training {', '.join(sorted(ours))}; evaluation {', '.join(sorted(theirs))}"
    if not ours & theirs:
        return Rule("seeds.domains", "error", True, f"Seeds come from disjoint spaces: {names}.")
    # an evaluation that was recorded, as training data are, can only be compared seed by seed
    recorded = ours & theirs == {"recordings"}
    detail = f"Seeds come from spaces that can meet: {names}."
    return Rule("seeds.domains", "warning" if recorded else "error", False, detail)


def domain(seed: int) -> str:
    """Return which space a seed comes from."""
    return next((name for limit, name in _DOMAINS if seed < limit), "suites")


def replay_rule(training: Dataset, seeds: Mapping[int, int], most: int, chance: int) -> Rule:
    """Return whether training episodes begin as the seeds that they claim begin.

    Args:
        training: the dataset.
        seeds: by episode, where there is one.
        most: how many episodes are begun again.
        chance: seed of the sample, which who made the data cannot have known.
    """
    name, about = "seeds.replayed", how_made(training)
    settings = about.get("settings", {})
    if not seeds or not is_registered(about.get("world"), settings):
        return Rule(name, "warning", None, "No seed of a world of ours to begin again from.")
    order = generator("contamination.replay", chance).permutation(sorted(seeds))[:most]
    world: World = make_world(
        about["world"], **{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    )
    try:
        wrong = [int(index) for index in order if not replayed_start(training, int(index), world)]
    finally:
        world.close()
    if wrong:
        detail = (
            f"{len(wrong)} of {len(order)} training episodes do not begin as their seeds do, "
            f"e.g. episode {wrong[0]}: the seeds are not those that they were made with."
        )
        return Rule(name, "error", False, detail)
    return Rule(name, "error", True, f"{len(order)} training episodes begin as their seeds do.")


def group_rules(exact: ExactIndex, groups: Mapping[int, Mapping[str, str]]) -> list[Rule]:
    """Return whether groups lie on one side: of training and evaluation, and of the split.

    Args:
        exact: the evaluation, after all training data were held against it.
        groups: of every training episode.
    """
    shared = [exact.hits.first[kind] for kind in ("scene", "source") if kind in exact.hits.first]
    apart = Rule(
        "groups.apart",
        "error",
        not shared,
        shared[0] if shared else "Training and evaluation share no scene and no source.",
    )
    trained, held_out = split_episodes(len(groups))
    ours = {group for index in trained for group in groups[int(index)].items()}
    torn = sorted({g for index in held_out for g in groups[int(index)].items() if g in ours})
    detail = "No scene and no source lies on both sides of the split into training and validation."
    if torn:
        detail = (
            f"{len(torn)} groups lie on both sides of the split into training and validation, "
            f"e.g. the {torn[0][0]} {torn[0][1]}: validation is not held out."
        )
    return [apart, Rule("groups.split", "warning", not torn, detail)]


def states_rule(
    judged: Judgement | None, distances: np.ndarray, others: np.ndarray, names: Sequence[str]
) -> Rule:
    """Return whether tasks lie nearer to training data than independent tasks do.

    Args:
        judged: None where there is nothing to judge by.
        distances: of the evaluation's tasks.
        others: of the independent ones.
        names: of the evaluation's episodes.
    """
    name = "states.neighbours"
    if judged is None:
        return Rule(name, "warning", None, "No states, or no independent episodes, to judge by.")
    copies = np.flatnonzero(distances < _NEARER * judged.smallest[1])
    said = _judged("tasks", judged, len(distances), "")
    if len(copies):
        index = int(distances.argmin())
        said = (
            f"{len(copies)} tasks are nearer to a training pair than a quarter of the nearest of "
            f"{len(others)} independent ones ({judged.smallest[1]:.3g}), e.g. {names[index]} "
            f"({distances[index]:.3g}, p = {rank_probability(distances[index], others):.2g}). "
        ) + said
    return Rule(name, "error", judged.p_value >= ALPHA and not len(copies), said)


def pictures_rule(
    judged: Judgement | None, distances: np.ndarray, unit: Unit | None, names: Sequence[str]
) -> Rule:
    """Return whether runs of pictures lie nearer to training data than independent ones do.

    Args:
        judged: None where there is nothing to judge by.
        distances: of the evaluation's episodes, 1 being as near as a near copy.
        unit: of the distances.
        names: of the evaluation's episodes.
    """
    name = "frames.likeness"
    if judged is None or unit is None:
        return Rule(name, "warning", None, "No pictures, or no independent episodes, to judge by.")
    separate = judged.smallest[1] > 1
    # halfway, by ratio, from near copies to the nearest independent run
    halfway = judged.smallest[1] ** 0.5
    copies = np.flatnonzero(distances <= halfway) if separate else np.zeros(0, int)
    measured = (
        f"near copies here stay within {unit.rmse:.2g} levels and {unit.bits:.0f} of 256 bits, "
        f"the nearest independent run within {judged.smallest[1]:.2g} times that"
    )
    long = int(np.count_nonzero(np.isfinite(distances)))
    said = _judged(f"runs of {RUN} pictures", judged, long, f" ({measured})")
    if long < len(distances):
        said += f" Too short for such a run, and not judged: {len(distances) - long}."
    if len(copies):
        e_g = names[int(copies[0])]
        said = f"{len(copies)} episodes have a near copy in the training data, e.g. {e_g}. " + said
    if not separate:
        said += " Independent runs come as near as near copies, so a single one is no evidence."
    return Rule(name, "error", judged.p_value >= ALPHA and not len(copies), said)


def behaviour_rule(seen: Sequence[Record], fresh: Sequence[Record]) -> Rule:
    """Return whether a policy succeeds more often on seeds it was trained on than on fresh ones.

    Args:
        seen: records of episodes whose seeds are in the training data.
        fresh: records of episodes whose seeds are not.

    Raises:
        ConfigError: one side has no record, or they share an episode.

    Source: Fisher 1934, the exact test, one-sided.
    """
    seeds = [{record.seed for record in records} for records in (seen, fresh)]
    if not seen or not fresh or seeds[0] & seeds[1]:
        raise ConfigError(
            "Behaviour is compared on seen and on fresh seeds: both need records, and no seed may "
            f"be in both; got {len(seen)} and {len(fresh)} records, {len(seeds[0] & seeds[1])} "
            "seeds in both."
        )
    won = [sum(record.success for record in records) for records in (seen, fresh)]
    p = hypergeometric_tail(won[0], len(seen), len(seen) + len(fresh), sum(won))
    detail = (
        f"{won[0]} of {len(seen)} on seen seeds, {won[1]} of {len(fresh)} on fresh ones; "
        f"p = {p:.2g} for so much more on seen ones by chance."
    )
    return Rule("behaviour.seen", "warning", p >= 0.01, detail)


def evidence_rule(judged: Sequence[Judgement | None]) -> Rule:
    """Return whether resemblance could be judged at all: an acceptance needs that."""
    if any(one is not None for one in judged):
        return Rule("evidence", "error", True, "Resemblance could be judged.")
    detail = (
        "Neither states nor pictures could be held against independent episodes; give some with "
        "--independent, or evaluate in a world of ours."
    )
    return Rule("evidence", "error", None, detail)


def _judged(what: str, judged: Judgement, count: int, more: str) -> str:
    return (
        f"{len(judged.flagged)} of {count} {what} are below the 1 % quantile of independent ones, "
        f"{judged.limit:.3g}; {judged.expected:.1f} are to be expected, p = {judged.p_value:.2g}"
        f"{more}."
    )

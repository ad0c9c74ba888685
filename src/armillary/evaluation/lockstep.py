"""Lockstep: run episodes side by side, one step of each at a time, so that an actor can answer all.

With one episode it is the plain loop. With several, a policy that can decide for many at once is
asked once per step for all episodes that still run; what it raises costs all of them.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import Any, Protocol, runtime_checkable

from armillary.core.protocols import World
from armillary.core.values import Observation
from armillary.evaluation.episode import Answer, Ask, episode_steps
from armillary.evaluation.manifest import EpisodeSpec, Manifest
from armillary.evaluation.oracle import Oracle
from armillary.evaluation.records import Record
from armillary.evaluation.specs import Actor


@runtime_checkable
class BatchPolicy(Protocol):
    """A policy that can act for several episodes at once.

    Its factory has a ``batch``: how many of them.
    """

    def act_together(
        self, observations: Sequence[Observation], states: Sequence[Any]
    ) -> Sequence[tuple[Any, Any]]:
        """Return an action and the next state per episode."""
        ...


def run_episodes(
    worlds: Sequence[World],
    actor: Actor,
    manifest: Manifest,
    episodes: Sequence[EpisodeSpec],
    identity: str,
) -> tuple[Record, ...]:
    """Run episodes side by side and return their records.

    Args:
        worlds: at least one per episode, in any state; they are reset.
        actor: a policy, or an oracle.
        manifest: the rules.
        episodes: which ones.
        identity: name of the actor for the records.
    """
    running = [
        episode_steps(world, actor, manifest, episode, identity)
        for world, episode in zip(worlds[: len(episodes)], episodes, strict=True)
    ]
    turns: list[Ask | Record] = [_go_on(steps, None) for steps in running]
    while asking := {i: turn for i, turn in enumerate(turns) if isinstance(turn, Ask)}:
        for i, answer in zip(asking, _answers(actor, list(asking.values())), strict=True):
            turns[i] = _go_on(running[i], answer)
    return tuple(turn for turn in turns if isinstance(turn, Record))


def _go_on(
    steps: Generator[Ask, Answer, Record], answer: Answer | Exception | None
) -> Ask | Record:
    try:
        if answer is None:
            return next(steps)
        return steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
    except StopIteration as end:
        return end.value


def _answers(actor: Actor, asks: Sequence[Ask]) -> Sequence[Answer | Exception]:
    started = time.perf_counter()
    try:
        answered = _act(actor, asks)
    except Exception as error:  # the episode says whose fault it was and goes no further
        return [error] * len(asks)
    # Every episode waited for the whole batch: that is how long its decision took.
    ms = 1e3 * (time.perf_counter() - started)
    return [Answer(action, state, ms) for action, state in answered]


def _act(actor: Actor, asks: Sequence[Ask]) -> Sequence[tuple[Any, Any]]:
    if isinstance(actor, Oracle):
        return [(actor.act(ask.world, ask.goal, *ask.chance), None) for ask in asks]
    if isinstance(actor, BatchPolicy):
        return actor.act_together([ask.observation for ask in asks], [ask.state for ask in asks])
    return [actor.act(ask.observation, ask.state) for ask in asks]

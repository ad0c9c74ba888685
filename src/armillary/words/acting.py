"""Acting: the same planner on top of every variant, towards the same goals.

The task is the tabletop's "reach": within 3 cm of the pusher's place in the goal, at the last of
30 steps. The cost of a plan is the distance from the predicted pusher to the goal, summed over the
plan. The planner is CEM with equally many candidates for all. What cannot be parsed costs as much
as the farthest place. All goals of a seed are acted at once, so that a decision is one batch.

What a variant reads of the goal comes from its own source: the world model and T-probe see a
picture of it, T-true and T-noise read its place.

Axes: B goals, S candidate plans, L plan length, T steps that were seen, N tokens, D width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.progress import Progress, silent
from armillary.core.rng import generator, torch_generator
from armillary.core.values import Goal, Observation
from armillary.evaluation.manifest import Manifest, draw_goal, make_manifest
from armillary.planning import CEM, CEMConfig
from armillary.words.decoding import write_ahead
from armillary.words.gpt import GPT
from armillary.words.language import WORST_M, Form
from armillary.words.pictures import Reader, see_now
from armillary.words.settings import HISTORY, WordsConfig
from armillary.worlds import make_world

# From what was seen (in a variant's own terms), actions taken and plans [B S L 2] to states
# [B S L 4].
Ahead = Callable[[list[Any], list[np.ndarray], np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Actor:
    """How a variant acts.

    Attributes:
        sees: whether it needs pictures; else it reads the simulator's state.
        observe: from observations and true states [B 4] to what it remembers of a step.
        place: from what it remembers of the goal to the pusher's place there [B 2].
        ahead: what it predicts.
    """

    sees: bool
    observe: Callable[[Sequence[Observation], np.ndarray], Any]
    place: Callable[[Any], np.ndarray]
    ahead: Ahead


@dataclass(frozen=True)
class Acted:
    """The outcome.

    Attributes:
        final_m: distance from the goal at the end of each episode [B].
        least_m: least distance at any step [B].
        seconds_per_decision: core seconds of this process, for one goal; 0 without a planner.
        candidates: of each round; 0 without a planner.
    """

    final_m: Float[np.ndarray, " B"]
    least_m: Float[np.ndarray, " B"]
    seconds_per_decision: float
    candidates: int

    def to_dict(self, limit_m: float) -> dict[str, Any]:
        """Return JSON values; a goal is reached within ``limit_m`` at the end."""
        return {
            "final_cm": [round(100 * float(far), 3) for far in self.final_m],
            "reached": [bool(far <= limit_m) for far in self.final_m],
            "reached_at_any_step": [bool(far <= limit_m) for far in self.least_m],
            "core_seconds_per_decision": self.seconds_per_decision,
            "candidates": self.candidates,
        }


def world_actor(reader: Reader) -> Actor:
    """Return how the world model acts."""

    def ahead(seen: list[Any], taken: list[np.ndarray], plans: np.ndarray) -> np.ndarray:
        latents = torch.stack(seen, 1)
        acts = np.stack(taken, 1) if taken else np.zeros((len(latents), 0, 2))
        return reader.ahead(latents, acts, plans)

    return Actor(
        sees=True,
        observe=lambda observations, _: see_now(reader.model, observations),
        place=lambda tokens: reader.read(tokens)[:, :2],
        ahead=ahead,
    )


def word_actor(
    model: GPT,
    form: Form,
    reader: Reader | None = None,
    errors: Float[np.ndarray, "B 4"] | None = None,
) -> Actor:
    """Return how a language model acts.

    Args:
        model: the language model.
        form: how texts are written.
        reader: reads states of pictures; None for true states.
        errors: added to true states, the same during an episode; None for none.
    """

    def observe(observations: Sequence[Observation], states: np.ndarray) -> np.ndarray:
        if reader is not None:
            return reader.read(see_now(reader.model, observations))
        return states if errors is None else states + errors

    def ahead(seen: list[Any], taken: list[np.ndarray], plans: np.ndarray) -> np.ndarray:
        states = np.stack(seen, 1)
        acts = np.stack(taken, 1) if taken else np.zeros((len(states), 0, 2))
        whole = form.write(states[:, :-1], acts)
        text = np.concatenate([whole, form.write_states(states[:, -1])], axis=1)
        written = write_ahead(model, form, text, plans)
        return written.states.reshape(*plans.shape[:3], 4)

    return Actor(reader is not None, observe, lambda states: states[:, :2], ahead)


def goals_of(config: WordsConfig, seed: int) -> Manifest:
    """Return the goals of a seed; those of other seeds are others."""
    return make_manifest(config.scene_spec.world, config.scene_spec.task, config.goals, 1000 + seed)


@dataclass(frozen=True)
class Stage:
    """The worlds of a manifest, to be acted in again and again.

    Attributes:
        manifest: starts and goals.
        worlds: one for each goal.
        goals: theirs.
    """

    manifest: Manifest
    worlds: tuple[Any, ...]
    goals: tuple[Goal, ...]

    def restart(self) -> None:
        """Put every world back to its start."""
        for world, episode in zip(self.worlds, self.manifest.episodes, strict=True):
            world.reset(episode.seed)

    def far(self) -> Float[np.ndarray, " B"]:
        """Return how far each world is from its goal, metres."""
        pairs = zip(self.worlds, self.goals, strict=True)
        return np.array([world.distance(goal) for world, goal in pairs])

    def states(self) -> Float[np.ndarray, "B 4"]:
        """Return the simulator's states."""
        return np.stack([_state(world.truth()) for world in self.worlds])

    def observe(self, actor: Actor) -> Any:
        """Return what an actor remembers of the present."""
        seen = [world.observe() for world in self.worlds] if actor.sees else []
        return actor.observe(seen, self.states())

    def place_of_goals(self, actor: Actor) -> Float[np.ndarray, "B 2"]:
        """Return where an actor takes the goals to be."""
        seen = [goal.observation for goal in self.goals]
        states = np.stack([_state(goal.truth) for goal in self.goals])
        return actor.place(actor.observe(seen, states))


@contextmanager
def staged(manifest: Manifest) -> Iterator[Stage]:
    """Yield the worlds of a manifest, and close them at the end."""
    with ExitStack() as stack:
        worlds, goals = [], []
        for episode in manifest.episodes:
            world: Any = make_world(manifest.world, **manifest.settings)
            stack.callback(world.close)
            world.reset(episode.seed)
            worlds.append(world)
            goals.append(draw_goal(world, manifest.task, episode))
        yield Stage(manifest, tuple(worlds), tuple(goals))


def act_with(
    actor: Actor,
    stage: Stage,
    config: WordsConfig,
    candidates: int,
    seed: int,
    progress: Progress = silent,
) -> Acted:
    """Act in all worlds of a stage at once.

    Args:
        actor: how.
        stage: worlds and goals.
        config: of the planner.
        candidates: of each round.
        seed: of the planner's draws.
        progress: called after each step.
    """
    planner = CEM(
        CEMConfig(
            length=config.plan_steps,
            samples=candidates,
            iterations=config.rounds,
            elites=max(2, candidates // 8),
        )
    )
    stage.restart()
    count = len(stage.worlds)
    wanted = stage.place_of_goals(actor)
    seen, taken, pending = [stage.observe(actor)], [], []
    state = planner.init(stage.worlds[0].spec.bounds, count)
    traces, spent, decisions = [], 0.0, 0
    for step in range(stage.manifest.budget):
        if not pending:
            began = time.process_time()
            rngs = [torch_generator("words.plan", seed, goal, step) for goal in range(count)]
            past = min(len(seen), HISTORY)
            cost = _Cost(actor, seen[-past:], taken[len(taken) + 1 - past :], wanted)
            plan, state = planner.plan(cost, state, rngs)
            state = planner.advance(state, config.replan)
            pending = [*plan.actions.numpy().transpose(1, 0, 2)[: config.replan]]
            spent, decisions = spent + time.process_time() - began, decisions + 1
        action = pending.pop(0)
        for world, own in zip(stage.worlds, action, strict=True):
            _advance(world, own)
        taken.append(action)
        seen.append(stage.observe(actor))
        traces.append(stage.far())
        progress(step + 1, stage.manifest.budget)
    far = np.stack(traces)
    return Acted(far[-1], far.min(axis=0), spent / decisions / count, candidates)


def act_without_model(kind: str, stage: Stage, seed: int) -> Acted:
    """Act without a model: at ``random``, or as the simulator's expert (``oracle``)."""
    stage.restart()
    traces = []
    for step in range(stage.manifest.budget):
        for index, (world, goal) in enumerate(zip(stage.worlds, stage.goals, strict=True)):
            rng = generator("words.act", seed, index, step)
            _advance(world, world.expert(goal if kind == "oracle" else None, rng))
        traces.append(stage.far())
    far = np.stack(traces)
    return Acted(far[-1], far.min(axis=0), 0.0, 0)


@dataclass(frozen=True)
class _Cost:
    """The summed distance of predicted pushers from the goal, metres."""

    actor: Actor
    seen: list[Any]
    taken: list[np.ndarray]
    goal: Float[np.ndarray, "B 2"]

    def __call__(self, plans: Float[Tensor, "B S L 2"]) -> Float[Tensor, "B S"]:
        states = self.actor.ahead(self.seen, self.taken, plans.numpy())
        far = np.linalg.norm(states[..., :2] - self.goal[:, None, None], axis=-1)
        return torch.from_numpy(np.nan_to_num(far, nan=WORST_M).sum(axis=-1)).float()


def _advance(world: Any, action: np.ndarray) -> None:
    bounds = world.spec.bounds
    world.advance(np.clip(np.asarray(action, np.float64), bounds.low, bounds.high))


def _state(truth: Mapping[str, np.ndarray]) -> Float[np.ndarray, " 4"]:
    return np.concatenate([truth["pusher_xy"], truth["object_xy"]]).astype(np.float64)

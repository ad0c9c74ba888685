"""Acting for the API: plan towards a goal, and evaluate models and policies in a world."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from armillary.api.asking import AnyModel
from armillary.api.data import AnyPath
from armillary.api.progress import progress_of
from armillary.api.results import Evaluation, Plan
from armillary.core.errors import ConfigError, ShapeError, unknown_name
from armillary.core.files import claimed_folder, storage_errors
from armillary.core.progress import Progress
from armillary.core.protocols import Policy
from armillary.core.rng import torch_generator
from armillary.core.values import ActionBounds, Latent, Observation, WorldSpec
from armillary.evaluation import ModelPolicy
from armillary.evaluation.specs import identity_of, observation_streams
from armillary.models import JEPA, save_model
from armillary.planning import Planning, make_planner
from armillary.planning.latent_cost import CostOfSteps, LatentCost
from armillary.planning.planning import DIRECT, GUIDED
from armillary.services.acting import ActConfig, Acting, act_with, claim_evaluation, model_spec
from armillary.services.acting import act as act_in
from armillary.zoo.finding import find_model, loaded

Seen = Observation | Mapping[str, np.ndarray] | np.ndarray
PolicyMaker = Callable[[WorldSpec], Policy]


def act(
    model: AnyModel,
    world: str,
    *,
    episodes: int = 100,
    out: AnyPath | None = None,
    task: str | None = None,
    planning: Planning | str = "",
    seed: int = 0,
    workers: int = 1,
    progress: bool | Progress | None = None,
    **options: Any,
) -> Evaluation:
    """Let a model reach goals that it is shown, and count, beside random, no-op and oracle.

        result = arm.act(run, "tabletop", episodes=20, out="out/act")

    Args:
        model: a run, a model, a run or model folder, or a Hub repository id.
        world: its name.
        episodes: how many held-out episodes.
        out: folder for manifest, records and rows, and for the weights of a model that is an
            object; an evaluation that stopped there goes on. Nothing is kept without it.
        task: goal task of the world; None takes its first.
        planning: how it decides: an ``arm.Planning``, or the name of a planner: direct, guided,
            cem, icem, mppi or gradient. Empty takes guided for a folder with a goal policy, and
            icem for others and for a model that is passed as an object.
        seed: of the manifest.
        workers: processes; the records do not depend on it. A script that asks for more than one
            must call this below ``if __name__ == "__main__":``.
        progress: as for ``record``.
        options: more fields of ``armillary.services.acting.ActConfig``, e.g. ``budget`` (world
            steps), ``success_distance`` (in the world's unit, mostly metres).

    Returns:
        The rows of model, random, noop and oracle; ``success`` and ``n`` are the model's.

    Raises:
        CheckpointError: not a model.
        ConfigError: an unknown world, task, planner or option; ``out`` holds another evaluation;
            or, for a model that is passed as an object, ``out`` holds a run or another model, or a
            goal policy is asked for, which only a folder has.
        ShapeError: the model's actions or pictures are not the world's.
        StorageError: ``out`` cannot be written.
    """
    _check_options(options, "act")
    way = Planning(planning) if isinstance(planning, str) else planning
    config = ActConfig(way, episodes, task, seed, workers, **options)
    with _folder(out) as folder, progress_of("acting", progress) as bar:
        if isinstance(model, JEPA):
            place = _model_folder(model, world, folder, config)
        else:
            place = find_model(model)
        return _evaluation(act_in(place, world, folder, config, bar), out)


def evaluate(
    policy: Policy | PolicyMaker,
    world: str,
    *,
    episodes: int = 100,
    out: AnyPath | None = None,
    task: str | None = None,
    seed: int = 0,
    workers: int = 1,
    image_size: int = 64,
    settings: Mapping[str, Any] | None = None,
    budget: int | None = None,
    success_distance: float | None = None,
    progress: bool | Progress | None = None,
) -> Evaluation:
    """Evaluate your own policy in a world, beside random, no-op and oracle on the same episodes.

    Args:
        policy: an object with ``observes`` (names of the streams it sees), ``init(goal, seed)`` and
            ``act(observation, state)``, which returns an action [A] in the world's units and the
            next state; or a function that makes one of a ``WorldSpec`` (bounds, step in seconds).
        world: its name.
        episodes: how many held-out episodes.
        out: folder for manifest, records and rows; nothing is kept without it.
        task: goal task of the world; None takes its first.
        seed: of the manifest.
        workers: processes; with more than one the policy is pickled, and a script must call this
            below ``if __name__ == "__main__":``.
        image_size: rows and columns of the pictures that the policy sees, pixels.
        settings: more settings of the world.
        budget: world steps per episode; None for the task's own.
        success_distance: solved within this distance, in the world's unit; None for the task's own.
        progress: as for ``record``.

    Returns:
        The rows of policy, random, noop and oracle; ``success`` and ``n`` are the policy's.

    Raises:
        ConfigError: not a policy, an unknown world or task, or ``out`` holds another evaluation.
        ShapeError: the policy sees what the world does not show.
        StorageError: ``out`` cannot be written.
    """
    if not isinstance(policy, Policy) and not callable(policy):
        raise ConfigError(
            "A policy has observes, init(goal, seed) and act(observation, state); or pass a "
            f"function that makes one of a WorldSpec. Got {type(policy).__name__}."
        )
    make: Any = _Same(policy) if isinstance(policy, Policy) else policy
    if out is not None and (Path(out) / "records").exists() and not hasattr(policy, "identity"):
        raise ConfigError(
            f"{out}: holds records already, and a policy without identity() may be another than "
            "theirs; choose another folder with out=."
        )
    config = ActConfig(
        episodes=episodes,
        task=task,
        seed=seed,
        workers=workers,
        world_settings={"image_size": image_size, **(settings or {})},
        budget=budget,
        success_distance=success_distance,
    )
    with _folder(out) as folder, progress_of("evaluating", progress) as bar:
        return _evaluation(act_with(make, world, folder, config, bar), out)


def plan(
    model: AnyModel,
    observation: Seen | Sequence[Seen],
    goal: Seen | Sequence[Seen] | None = None,
    *,
    cost: CostOfSteps | None = None,
    actions: Float[np.ndarray, "T-1 A"] | None = None,
    bounds: ActionBounds | tuple[Any, Any] | None = None,
    planner: str = "icem",
    seed: int = 0,
    **settings: Any,
) -> Plan:
    """Plan actions that lead from an observation to a goal, without gradients of the weights.

        found = arm.plan(run, episode.observation(0), episode.observation(-1))

    A goal need not be a picture. A cost of latents says what is wanted, by itself or beside a goal:

        where = arm.read_out(run, data, "pusher_xy")
        near = lambda latents: (where(latents) - torch.tensor([0.1, 0.0])).square().sum(-1)
        found = arm.plan(run, episode.observation(0), cost=near)

    Args:
        model: a run, a model, a run or model folder, or a Hub repository id.
        observation: what the sensors give now: an ``Observation``, arrays by stream name, or one
            picture uint8 [H W 3] where the model sees no more; or a list of them, a model step
            apart, oldest first, for a model that should remember.
        goal: the same of where to get; or a list of them, of which the nearest counts after each
            step; None where the cost alone says it.
        cost: from predicted latents [S L N D] of S plans after each of L model steps to costs
            [S L], which are summed over the plan. What must not happen costs much.
        actions: those between the observations of a list, one row a model step, in the data's
            units.
        bounds: lowest and highest action of a world step ([A] each, or numbers). None keeps within
            the box of the actions that the model was trained on: mean plus or minus sqrt(3)
            standard deviations, which are the ends of a uniform distribution. Give the real limits
            to a robot.
        planner: cem, icem, mppi or gradient.
        seed: of the search.
        settings: of the planner, e.g. ``length=16`` (model steps).

    Returns:
        The actions, what the model predicts of them, and how near to the goal they lead.

    Raises:
        CheckpointError: not a model.
        ConfigError: a model without actions, a planner or setting that cannot be, or neither goal
            nor cost.
        ShapeError: a stream is missing, or the cost, bounds or actions have another shape.
    """
    network = loaded(model)
    looks = [_observation(one) for one in _listed(observation)]
    goals = [] if goal is None else [_observation(one) for one in _listed(goal)]
    if not goals and cost is None:
        raise ConfigError("A plan needs a goal or a cost, and neither was given.")
    policy = _policy(network, bounds, planner, settings, len(looks))
    with torch.no_grad():
        tokens = torch.cat([policy.encode(one.only(policy.observes)) for one in looks], dim=1)
        latent = Latent(tokens, _between(actions, len(looks), network.config.action_width))
        wanted = [policy.encode(one.only(policy.observes))[:, 0] for one in goals]
        total = LatentCost(network, latent, torch.cat(wanted) if wanted else None, cost)
        box, skip = policy.bounds, policy.frame_skip
        wide = ActionBounds(np.tile(box.low, skip), np.tile(box.high, skip))
        state = policy.planner.init(wide, 1)
        rng = torch_generator("policy.planner", seed, 0)
        found, _ = policy.planner.plan(total, state, [rng])
        predicted = network.rollout(latent, found.actions[:, None])[0, 0]
        every = torch.cat([tokens[0, -1:], predicted])
        distances = total.distances(every)
    paid = float(found.costs[0])
    return Plan(
        actions=found.actions[0].reshape(-1, policy.bounds.width).numpy(),
        predicted=predicted,
        distances=distances.numpy().astype(np.float64),
        cost=paid if np.isfinite(paid) else float("nan"),
        model_steps=found.model_steps,
        observation=looks[-1],
        goal=goals[0] if goals else None,
    )


@dataclass(frozen=True)
class _Same:
    """Makes the same policy for every world."""

    policy: Any

    def __call__(self, world: WorldSpec) -> Any:
        return self.policy

    def identity(self) -> str:
        return identity_of(self.policy)


@contextmanager
def _folder(out: AnyPath | None) -> Iterator[Path]:
    if out is not None:
        yield Path(out)
        return
    with TemporaryDirectory() as scratch:
        yield Path(scratch)


def _model_folder(model: JEPA, world: str, out: Path, config: ActConfig) -> Path:
    """Write a model into the folder of its evaluation, once nothing speaks against either."""
    if config.planning.planner in (DIRECT, GUIDED):
        raise ConfigError(
            f"The planner {config.planning.planner} needs the goal policy in a model's folder, and "
            "the model was given as an object; pass the folder of its run."
        )
    if (out / "run.json").exists():
        raise ConfigError(
            f"{out}: holds a training run, whose model would be replaced; choose another folder "
            "with out=."
        )
    place = out / "model"
    with claimed_folder(out), storage_errors(out), TemporaryDirectory(dir=out) as scratch:
        beside = Path(scratch) / "model"
        save_model(model, beside)
        if place.exists() and not _same_model(place, beside, config):
            raise ConfigError(
                f"{place}: is another model than the one to be evaluated; choose another folder "
                "with out=."
            )
        claim_evaluation(beside, world, out, config)
        if not place.exists():
            beside.replace(place)
    return place


def _same_model(one: Path, other: Path, config: ActConfig) -> bool:
    return model_spec(one, config).identity() == model_spec(other, config).identity()


def _evaluation(found: Acting, out: AnyPath | None) -> Evaluation:
    path = None if out is None else Path(out)
    return Evaluation(found.rows, found.comparisons, found.records, found.manifest, path)


def _check_options(options: Mapping[str, Any], function: str) -> None:
    known = [field.name for field in fields(ActConfig)]
    for name in options:
        if name not in known:
            raise unknown_name(f"option of {function}", name, known)


def _listed(observation: Seen | Sequence[Seen]) -> Sequence[Any]:
    listed = observation if isinstance(observation, list | tuple) else [observation]
    if not listed:
        raise ShapeError("A plan needs at least one observation; got none.")
    return listed


def _observation(seen: Any) -> Observation:
    if isinstance(seen, Observation):
        return seen
    if isinstance(seen, Mapping):
        return Observation({name: np.asarray(value) for name, value in seen.items()})
    picture = np.asarray(seen)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ShapeError(
            "An observation is an Observation, arrays by stream name, or a picture uint8 [H W 3]; "
            f"got {picture.dtype} {list(picture.shape)}."
        )
    return Observation({"rgb": picture})


def _policy(
    model: JEPA, bounds: Any, planner: str, settings: Mapping[str, Any], looks: int
) -> ModelPolicy:
    config = model.config
    if not config.action_width:
        raise ConfigError(
            "The model was trained on plain video, without actions, and a plan is made of them; "
            "train on a dataset with actions."
        )
    return ModelPolicy(
        model=model,
        planner=make_planner(planner, **settings),
        bounds=action_box(model, bounds),
        observes=observation_streams(config),
        history=looks,
        frame_skip=config.frame_skip,
        image_size=config.encoder.image_size,
    )


def action_box(model: JEPA, bounds: Any = None) -> ActionBounds:
    """Return the box of a world step's action; a model step holds several side by side.

    Args:
        model: takes actions.
        bounds: as for ``plan``; None for the box of the actions that the model was trained on.

    Raises:
        ShapeError: bounds of another width.
        ConfigError: bounds that do not rise.
    """
    skip = model.config.frame_skip
    width = model.config.action_width // skip
    if isinstance(bounds, ActionBounds):
        low, high = bounds.low, bounds.high
    elif bounds is None:
        scales = model.normalizer
        mean, std = (
            values.numpy().astype(np.float64).reshape(skip, width)
            for values in (scales.action_mean, scales.action_std)
        )
        low, high = (mean - 3**0.5 * std).min(0), (mean + 3**0.5 * std).max(0)
    else:
        low, high = (np.asarray(end, np.float64) for end in bounds)
    try:
        low, high = (np.broadcast_to(end, (width,)).astype(np.float64) for end in (low, high))
    except ValueError as error:
        raise ShapeError(
            f"bounds must be a lowest and a highest action of {width} numbers each; got shapes "
            f"{np.shape(low)} and {np.shape(high)}."
        ) from error
    if not (low < high).all():
        raise ConfigError(f"bounds must rise from lowest to highest; got {low} and {high}.")
    return ActionBounds(low, high)


def _between(actions: Any, looks: int, width: int) -> torch.Tensor | None:
    if looks == 1 and actions is None:
        return None
    given = np.zeros((0, width)) if actions is None else np.asarray(actions, np.float32)
    if given.shape != (looks - 1, width):
        raise ShapeError(
            f"{looks} observations need actions [{looks - 1} {width}] between them, one row a "
            f"model step; got {list(given.shape)}."
        )
    return torch.from_numpy(given.astype(np.float32))[None] if looks > 1 else None

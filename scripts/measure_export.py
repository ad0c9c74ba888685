"""Compare exported models with torch, and their speed: results/export.json.

    python scripts/measure_export.py MODEL DATASET [--others FOLDER] [--episodes 50]
        [--record FILE]

MODEL is exported for the tabletop, DATASET is a recording that it can see. FOLDER may hold other
worlds, a folder each with ``run`` and ``recording``, as ``armillary bench worlds`` makes them; they
are exported without limits. Each graph gets 1,000 real inputs and 1,000 random ones. The real ones
are steps of the recording, with the goal some steps later in the same episode.

A decision is timed in turns, in process and through the runner, one thread each. Both are given the
same observation and encode it; the goal was encoded before. Then both act in the tabletop.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import armillary as arm
from armillary.benchmark.machine import provenance
from armillary.core.files import write_json
from armillary.core.values import ActionBounds, Observation
from armillary.data.resize import resized, resized_lens
from armillary.evaluation import (
    GoalConditionedPolicy,
    ModelSpec,
    WorldFactory,
    evaluate,
    make_manifest,
)
from armillary.evaluation.specs import observation_streams
from armillary.export.exporter import Robot, differences, export_model, random_inputs
from armillary.export.graphs import EncoderGraph, PolicyGraph, PredictorGraph
from armillary.export.ports import memory_width, sensor_ports
from armillary.export.runner import Graph, Runner
from armillary.models import JEPA, load_model
from armillary.models.goal_policy import GoalPolicy
from armillary.models.goal_policy_file import load_goal_policy
from armillary.planning import Planning
from armillary.zoo.finding import find_model

WORLD, TASK = "tabletop", "reach"
INPUTS, BATCH, FARTHEST, DEADLINE = 1000, 50, 12, 30
WARM, QUANTILES = 20, (0.5, 0.95)


@dataclass(frozen=True)
class Pair:
    """An observation and a goal of the same episode, at the model's size.

    Attributes:
        now: the observation.
        goal: some steps later.
        action: the recorded actions in between, of one model step [K A].
        left: robot steps until the deadline.
    """

    now: Observation
    goal: Observation
    action: np.ndarray
    left: int


def pairs(data: Any, model: JEPA, count: int) -> list[Pair]:
    """Return pairs from a recording, from all over it."""
    rng, skip = np.random.default_rng(0), model.config.frame_skip
    each = max(1, -(-count // len(data)))
    chosen = rng.permutation(len(data))[: -(-count // each)]
    found = [pair for number in chosen for pair in _of_episode(data[int(number)], model, each, rng)]
    if len(found) < count:
        raise SystemExit(f"The recording gave {len(found)} pairs of {skip} steps, not {count}.")
    return found[:count]


def _of_episode(episode: Any, model: JEPA, count: int, rng: np.random.Generator) -> Iterator[Pair]:
    skip, steps = model.config.frame_skip, len(episode)
    for _ in range(count):
        step = int(rng.integers(0, steps - skip))
        later = min(steps - 1, step + skip * int(rng.integers(1, FARTHEST)))
        action = np.asarray(episode.actions[step : step + skip], np.float32)
        left = int(rng.integers(1, DEADLINE + 1))
        now, goal = (fitted(episode.observation(one), model) for one in (step, later))
        yield Pair(now, goal, action, left)


def fitted(seen: Observation, model: JEPA) -> Observation:
    """Return an observation with the streams and at the size that a model sees."""
    side = model.config.encoder.image_size
    parts = dict(seen.only(observation_streams(model.config)).streams)
    for name in {"rgb", "depth"} & {*parts}:
        before = parts[name].shape[:2]
        parts[name] = resized(parts[name], (side, side), average=name == "rgb")
        if "intrinsics" in parts and name == "depth":
            parts["intrinsics"] = resized_lens(parts["intrinsics"], before, (side, side))
    return Observation(parts)


def stacked(observations: Sequence[Observation], model: JEPA) -> tuple[np.ndarray, ...]:
    """Return the inputs of an encoder for many observations."""
    return tuple(
        np.stack([seen.streams[port.name] for seen in observations]).astype(port.dtype)
        for port in sensor_ports(model.config)
    )


def inputs(
    runner: Runner, model: JEPA, found: Sequence[Pair]
) -> Mapping[str, tuple[np.ndarray, ...]]:
    """Return what each graph is given for real pairs."""
    now = stacked([pair.now for pair in found], model)
    tokens, goals = (
        np.concatenate([runner.encode(getattr(pair, which).streams) for pair in found])
        for which in ("now", "goal")
    )
    left = np.array([max(pair.left / runner.frame_skip, 1.0) for pair in found], np.float32)
    given = [tokens, np.stack([pair.action for pair in found])]
    if width := memory_width(model.config):
        # a memory that a step from here has left
        start = {"tokens": tokens, "action": given[1]}
        start["memory"] = np.zeros((len(found), width), np.float32)
        given.append(runner.graphs["predictor"](start)[1])
    return {"encoder": now, "predictor": tuple(given), "policy": (tokens, goals, left)}


def networks(model: JEPA, policy: GoalPolicy) -> dict[str, torch.nn.Module]:
    """Return what the graphs were made of."""
    seen = tuple(port.name for port in sensor_ports(model.config))
    return {
        "encoder": EncoderGraph(model, seen),
        "predictor": PredictorGraph(model),
        "policy": PolicyGraph(policy, model.config.frame_skip),
    }


def all_differences(
    graph: Graph, network: torch.nn.Module, values: Sequence[np.ndarray]
) -> dict[str, float]:
    """Return the largest difference of each output from torch's, over all inputs."""
    batches = [
        differences(network, graph, [value[first : first + BATCH] for value in values])
        for first in range(0, len(values[0]), BATCH)
    ]
    return {name: max(one[name] for one in batches) for name in batches[0]}


def decisions(
    runner: Runner, policy: GoalConditionedPolicy, found: Sequence[Pair]
) -> dict[str, Any]:
    """Return how decisions differ, and how long they take, in turns.

    Processor time counts for the ratio: on a busy machine the longer decision waits more often.
    """
    clocks = {"ms": time.perf_counter, "cpu_ms": time.thread_time}
    times: dict[str, dict[str, list[float]]] = {
        clock: {"torch": [], "onnx": []} for clock in clocks
    }
    chosen: dict[str, list[np.ndarray]] = {"torch": [], "onnx": []}
    for number, pair in enumerate(found):
        timed = replace(policy, deadline=pair.left)
        state, goal = timed.init(pair.goal, 0), runner.encode(pair.goal.streams)
        for which in ("torch", "onnx") if number % 2 else ("onnx", "torch"):
            began = {name: clock() for name, clock in clocks.items()}
            if which == "torch":
                action = timed.act(pair.now, state)[0]
            else:
                action = runner.decide(runner.encode(pair.now.streams), goal, pair.left)[0]
            for name, clock in clocks.items():
                times[name][which].append(1000 * (clock() - began[name]))
            chosen[which].append(action)
    quantiles = {
        clock: {
            which: {str(q): float(np.quantile(every[WARM:], q)) for q in QUANTILES}
            for which, every in both.items()
        }
        for clock, both in times.items()
    }
    torchs, onnxs = (np.array(chosen[which]) for which in ("torch", "onnx"))
    return {
        "n": len(found),
        "largest_difference": float(np.abs(torchs - onnxs).max()),
        "torch_batched_largest_difference": float(np.abs(torchs - batched(policy, found)).max()),
        **quantiles,
        "torch_over_onnx": quantiles["cpu_ms"]["torch"]["0.5"] / quantiles["cpu_ms"]["onnx"]["0.5"],
    }


def batched(policy: GoalConditionedPolicy, found: Sequence[Pair]) -> np.ndarray:
    """Return torch's own decisions where many are made at once: how far rounding alone goes."""
    model, made = policy.model, policy.policy
    assert isinstance(model, JEPA) and isinstance(made, GoalPolicy)
    encoder, acting = (networks(model, made)[name] for name in ("encoder", "policy"))
    actions = []
    for first in range(0, len(found), BATCH):
        some = found[first : first + BATCH]
        with torch.no_grad():
            now, goal = (
                encoder(
                    *map(torch.from_numpy, stacked([getattr(pair, of) for pair in some], model))
                )[0]
                for of in ("now", "goal")
            )
            left = torch.tensor([max(pair.left / policy.frame_skip, 1.0) for pair in some])
            actions.append(acting(now, goal, left)[0][:, 0].double().numpy())
    return np.clip(np.concatenate(actions), policy.bounds.low, policy.bounds.high)


@contextmanager
def exported(folder: Path, robot: Robot) -> Iterator[Path]:
    """Export a model for a while."""
    with tempfile.TemporaryDirectory() as temporary:
        export_model(folder, Path(temporary) / "export", robot)
        yield Path(temporary) / "export"


@dataclass(frozen=True)
class RunnerPolicy:
    """Acts through a runner.

    Attributes:
        runner: decides.
        model: says what it sees, and nothing else.
        deadline: robot steps in which the goal is to be reached.
    """

    runner: Runner
    model: JEPA
    deadline: int

    @property
    def observes(self) -> tuple[str, ...]:
        """Streams that it sees."""
        return observation_streams(self.model.config)

    def init(self, goal: Observation, seed: int) -> tuple[np.ndarray, int]:
        """Return the goal's tokens and the first step."""
        return self.runner.encode(fitted(goal, self.model).streams), 0

    def act(self, observation: Observation, state: Any) -> tuple[np.ndarray, Any]:
        """Return the next action."""
        goal, step = state
        tokens = self.runner.encode(fitted(observation, self.model).streams)
        left = self.deadline - step
        return self.runner.decide(tokens, goal, left)[0], (goal, step + 1)


@dataclass(frozen=True)
class BesidePolicy:
    """Acts in process, and asks the runner about every observation, too.

    Attributes:
        policy: acts.
        asked: is asked.
        apart: gets the largest difference of each decision.
    """

    policy: Any
    asked: RunnerPolicy
    apart: list[float]

    @property
    def observes(self) -> tuple[str, ...]:
        """Streams that it sees."""
        return self.policy.observes

    def init(self, goal: Observation, seed: int) -> tuple[Any, Any]:
        """Return the states of both."""
        return self.policy.init(goal, seed), self.asked.init(goal, seed)

    def act(self, observation: Observation, state: Any) -> tuple[np.ndarray, Any]:
        """Return the next action of the policy."""
        action, own = self.policy.act(observation, state[0])
        other, asked = self.asked.act(observation, state[1])
        self.apart.append(float(np.abs(action - other).max()))
        return action, (own, asked)


def acted(model_path: str, robot: Robot, episodes: int) -> dict[str, Any]:
    """Return how often goals are reached in process and through the runner.

    In process the runner is asked about the same observations. Where each acts for itself, the last
    bit of an action can turn a pixel, and actions then differ by more.
    """
    folder = find_model(model_path)
    model = load_model(folder)
    with exported(folder, robot) as out:
        runner = Runner.load(out)
    side = model.config.encoder.image_size
    manifest = make_manifest(WORLD, TASK, episodes, 21, settings={"image_size": side})
    asked, apart = RunnerPolicy(runner, model, manifest.budget), list[float]()
    direct = ModelSpec(folder, Planning(planner="direct"))
    beside = evaluate(manifest, lambda spec: BesidePolicy(direct(spec), asked, apart))
    through = evaluate(manifest, lambda spec: asked)
    return {
        "world": WORLD,
        "task": TASK,
        "n": episodes,
        "solved_in_process": sum(record.success for record in beside),
        "solved_through_the_runner": sum(record.success for record in through),
        "decisions": len(apart),
        "largest_difference": max(apart),
    }


def measured(model_path: str, data: Path, robot: Robot) -> dict[str, Any]:
    """Return what is measured of one model."""
    folder = find_model(model_path)
    model = load_model(folder).requires_grad_(False)
    made = load_goal_policy(folder, model)
    if made is None:
        raise SystemExit(f"{folder}: contains no goal policy.")
    made.requires_grad_(False)
    config = model.config
    with exported(folder, robot) as out:
        size = sum(path.stat().st_size for path in out.iterdir())
        runner = Runner.load(out)
    found = pairs(arm.open_dataset(data), model, INPUTS)
    drawn = {
        "real": inputs(runner, model, found),
        "random": random_inputs(model, INPUTS, np.random.default_rng(1)),
    }
    every: dict[str, Any] = {kind: {} for kind in drawn}
    for kind, values in drawn.items():
        for name, network in networks(model, made).items():
            every[kind] |= all_differences(runner.graphs[name], network, values[name])
    none = np.full(config.action_width // config.frame_skip, np.inf)
    policy = GoalConditionedPolicy(
        model,
        made,
        robot.bounds or ActionBounds(-none, none),
        observation_streams(config),
        config.frame_skip,
        config.encoder.image_size,
    )
    return {
        "sensors": list(config.sensors),
        "frame_skip": config.frame_skip,
        "action_width": len(none),
        "limits": robot.bounds is not None,
        "inputs": {"real": INPUTS, "random": INPUTS},
        "largest_difference": every,
        "decisions": decisions(runner, policy, found),
        "bytes": size,
        "model_sha256": runner.manifest["model"]["sha256"],
        "versions": runner.manifest["versions"],
    }


def tabletop() -> Robot:
    """Return the limits and rate of the tabletop."""
    world = WorldFactory(WORLD)()
    try:
        return Robot(world.spec.bounds, world.spec.step_s, world.spec.budget, WORLD)
    finally:
        world.close()


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--others", type=Path)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--record", type=Path, default=Path("results/export.json"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    said = provenance(" ".join(["python", *sys.argv]), 1)
    robot = tabletop()
    models = {WORLD: measured(chosen.model, chosen.data, robot)}
    acting = acted(chosen.model, robot, chosen.episodes)
    sys.stderr.write(f"{acting}\n")
    for folder in sorted(chosen.others.iterdir()) if chosen.others else ():
        if (folder / "run").is_dir() and (folder / "recording").is_dir():
            models[folder.name] = measured(str(folder / "run"), folder / "recording", Robot())
            sys.stderr.write(f"{folder.name}: {models[folder.name]['decisions']}\n")
    differ = [
        max(part.values()) for one in models.values() for part in one["largest_difference"].values()
    ]
    value = {
        "models": models,
        "acting": acting,
        "largest_difference": max(differ),
        "decisions_largest_difference": max(
            one["decisions"]["largest_difference"] for one in models.values()
        ),
    }
    write_json(chosen.record, value | said)
    sys.stdout.write(f"{chosen.record}: {value['largest_difference']:.2g}\n")


if __name__ == "__main__":
    main()

"""Planning bench: decisions per second, from two pictures to an action, beside LeWM's own.

A decision is everything: encode the picture and the goal, search, return the action. LeWM decides
as ``stable-worldmodel`` lets it, with that package's CEM. Two comparisons: *equal*, the same number
of candidates, rounds and model steps ahead on both sides, and *default*, each side as it comes.
Same threads, float32 on both sides, turns in one run, medians.

Weights are random: how long a decision takes does not depend on what was learned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from armillary.benchmark.machine import provenance
from armillary.benchmark.peers import PeerProcess
from armillary.benchmark.threads import threads_of_torch
from armillary.benchmark.timing import medians, ratios, rounded, take_turns
from armillary.core.cores import core_count
from armillary.core.errors import ConfigError
from armillary.core.progress import Progress, silent
from armillary.core.protocols import Planner
from armillary.core.rng import generator
from armillary.core.values import ActionBounds, Observation
from armillary.evaluation import ModelPolicy
from armillary.evaluation.specs import observation_streams
from armillary.models import JEPA, JEPAConfig, untrained
from armillary.planning import CEM, CEMConfig

_WORLD_ACTION_WIDTH = 2  # as tabletop has it, and LeWM's PushT
_SAID = (
    "Model, cost, CEM solver and policy are the package's; its default picture size and its own "
    "picture preparation; one environment, float32, inference mode; random weights."
)


@dataclass(frozen=True)
class PlanBench:
    """Settings of the planning bench. The search is LeWM's default, so that one serves both ratios.

    Attributes:
        threads: threads of either side; 0: the cores that this process may use.
        repetitions: counted turns of each.
        seconds: how long armillary decides per turn, at least once; LeWM decides once.
        samples: candidate plans per round of the equal search.
        iterations: its rounds.
        elites: plans that its Gaussian is refitted to.
        horizon: model steps that it looks ahead.
        lewm_size: side of LeWM's pictures in pixels.
        lewm_patch: side of LeWM's patches in pixels.
    """

    threads: int = 0
    repetitions: int = 5
    seconds: float = 3.0
    samples: int = 300
    iterations: int = 30
    elites: int = 30
    horizon: int = 5
    lewm_size: int = 224
    lewm_patch: int = 14

    def __post_init__(self) -> None:
        if self.threads < 0 or self.repetitions < 1 or not self.seconds > 0:
            raise ConfigError(
                "The planning bench needs threads of 0 (all cores) or more, repetitions of at "
                f"least 1 and seconds above 0; got {self.threads}, {self.repetitions} and "
                f"{self.seconds}."
            )

    @property
    def search(self) -> dict[str, int]:
        """The equal search, by the names that both sides use."""
        names = ("samples", "iterations", "elites", "horizon")
        return {name: getattr(self, name) for name in names}


def bench_plan(
    model: JEPAConfig,
    default: Planner,
    replan: int = 1,
    settings: PlanBench = PlanBench(),
    peers: bool = True,
    progress: Progress = silent,
    command: str = "",
) -> dict[str, Any]:
    """Measure decisions per second, side by side.

    Args:
        model: shape of armillary's model; a world with actions of width 2 is assumed.
        default: the planner that armillary uses by default.
        replan: model steps that armillary executes per decision by default.
        settings: the equal search, how long and how often.
        peers: whether to measure LeWM too.
        progress: called after each measurement.
        command: that does the same again, for the result.

    Returns:
        ``decisions_per_s.{armillary,lewm}`` of the equal search; ``ratio.{equal,default}``, how
        many times as fast armillary decides; by side ``ms_per_decision``,
        ``model_steps_per_decision`` (predictor steps, as counted), ``world_steps_per_decision``
        (that one decision is good for) and ``ms_per_world_step``; ``command``,
        ``commit``, ``date``, ``machine``, settings, every repetition.

    Raises:
        MissingExtraError: the peer could not be installed.
    """
    threads = settings.threads or core_count()
    origin = provenance(command, threads)
    with threads_of_torch(threads), ExitStack() as stack:
        sides = _own_sides(model, default, replan, settings)
        about = None
        if peers:
            peer = stack.enter_context(PeerProcess("stable-worldmodel", "lewm_plan.py", threads))
            sides["lewm"], about = _lewm(peer, settings, threads)
        measures = {name: side.measure for name, side in sides.items()}
        speeds = take_turns(measures, settings.repetitions, progress)
    result = {**origin, "settings": asdict(settings)}
    return _numbers(speeds, sides) | result | {"model": asdict(model), "lewm": about}


@dataclass
class _Side:
    """Something that decides.

    Attributes:
        decide: decides ``count`` times and returns seconds and model steps per decision.
        count: decisions per turn.
        world_steps: world steps that one decision is good for.
        search: what is searched, for the record.
        model_steps: of one decision, known after the first.
    """

    decide: Callable[[int], tuple[float, int]]
    count: int
    world_steps: int
    search: dict[str, Any]
    model_steps: int = 0

    def measure(self) -> float:
        """Decide for a turn and return decisions/s."""
        seconds, self.model_steps = self.decide(self.count)
        return self.count / seconds


def _own_sides(
    config: JEPAConfig, default: Planner, replan: int, settings: PlanBench
) -> dict[str, _Side]:
    skip = config.frame_skip
    config = replace(
        config,
        action_width=_WORLD_ACTION_WIDTH * skip,
        proprio_width=_WORLD_ACTION_WIDTH if "proprio" in config.sensors else 0,
    )
    model = untrained(config, 0).eval()
    equal = CEM(
        CEMConfig(
            length=settings.horizon,
            samples=settings.samples,
            elites=settings.elites,
            iterations=settings.iterations,
        )
    )
    sides = {}
    for name, planner, steps in (("armillary", equal, 1), ("armillary_default", default, replan)):
        decide = own_decisions(model, planner)
        count = max(1, round(settings.seconds / min(decide(1)[0] for _ in range(3))))
        chosen = asdict(getattr(planner, "config"))  # noqa: B009 - a Planner need not have one
        about = {"planner": type(planner).__name__, **chosen, "replan": steps}
        sides[name] = _Side(decide, count, steps * skip, about)
    return sides


def own_decisions(model: JEPA, planner: Planner) -> Callable[[int], tuple[float, int]]:
    """Return what decides ``count`` times: (seconds, predictor steps per decision).

    Each decision begins an episode, as LeWM's does here: the goal is encoded again every time,
    which costs armillary a little that it does not pay within an episode.
    """
    skip, streams = model.config.frame_skip, observation_streams(model.config)
    unit = np.ones(model.config.action_width // skip)
    policy = ModelPolicy(
        model=model,
        planner=planner,
        bounds=ActionBounds(-unit, unit),
        observes=streams,
        frame_skip=skip,
        image_size=model.config.encoder.image_size,
    )
    seen, goal = (observation(model.config, number) for number in range(2))

    def decide(count: int) -> tuple[float, int]:
        steps, begin = 0, time.perf_counter()
        for number in range(count):
            _, state = policy.act(seen, policy.init(goal, number))
            steps = state.decision.model_steps if state.decision else 0
        return time.perf_counter() - begin, steps

    return decide


def observation(config: JEPAConfig, number: int) -> Observation:
    """Return noise of the shapes and types that a world with the model's sensors would give."""
    rng, size = generator("bench-plan", number), config.encoder.image_size
    every = {
        "rgb": rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
        "depth": rng.uniform(0.5, 1.5, (size, size)).astype(np.float32),
        "world_from_camera": np.eye(4),
        "intrinsics": np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1.0]]),
        "proprio": rng.standard_normal(config.proprio_width).astype(np.float32),
    }
    return Observation(every).only(observation_streams(config))


def _lewm(peer: PeerProcess, settings: PlanBench, threads: int) -> tuple[_Side, dict[str, Any]]:
    sizes = {"size": settings.lewm_size, "patch": settings.lewm_patch}
    about = peer.ask("build", **sizes, **settings.search, threads=threads)

    def decide(count: int) -> tuple[float, int]:
        answer = peer.ask("decide", count=count)
        return answer["seconds"], answer["model_steps"]

    search = {"planner": "CEMSolver", **settings.search, "replan": settings.horizon}
    side = _Side(decide, 1, about["world_steps_per_decision"], search)
    return side, {"how": _SAID, **sizes, **about}


def _numbers(speeds: dict[str, list[float]], sides: dict[str, _Side]) -> dict[str, Any]:
    """Return speeds and ratios, and all they were computed from."""
    middle = medians(speeds)
    ms = {name: 1e3 / speed for name, speed in middle.items()}
    per_step = {name: ms[name] / side.world_steps for name, side in sides.items()}
    equal = {name: middle[name] for name in ("armillary", "lewm") if name in middle}
    return {
        "decisions_per_s": rounded(equal, 4),
        "ratio": rounded(_ratios(middle)),
        "ms_per_decision": rounded(ms),
        "model_steps_per_decision": {name: side.model_steps for name, side in sides.items()},
        "world_steps_per_decision": {name: side.world_steps for name, side in sides.items()},
        "ms_per_world_step": rounded(per_step),
        "search": {name: side.search for name, side in sides.items()},
        "repetitions": {name: [round(v, 4) for v in values] for name, values in speeds.items()},
    }


def _ratios(middle: dict[str, float]) -> dict[str, float]:
    if "lewm" not in middle:
        return {}
    sides = {"equal": "armillary", "default": "armillary_default"}
    return {kind: ratios(middle, name)["lewm"] for kind, name in sides.items()}

"""``check_world``: what a world promises, tried on it. For everyone who writes one.

from armillary.worlds import check_world
check_world(lambda: MyWorld())
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armillary.core.errors import CheckFailedError, ShapeError
from armillary.core.protocols import BlindWorld, World
from armillary.core.rng import generator
from armillary.core.values import Goal, Observation, StreamKind, WorldSpec

_STEPS = 6
_SEED = 7
# NaN is how these say that nothing was hit, or that a step has fewer points.
_GAPS: tuple[StreamKind, ...] = ("depth", "points", "lidar")
# Axes and precision of each kind of stream.
_WANTED: dict[StreamKind, tuple[int, str]] = {
    "rgb": (3, "uint8"),
    "depth": (2, "float32"),
    "points": (2, "float32"),
    "lidar": (1, "float32"),
    "pose": (2, "float64"),
    "proprio": (1, "float32"),
    "segmentation": (2, "uint8"),
}


def check_world(factory: Callable[[], World]) -> None:
    """Try a world: spec, sensors, determinism, goals, bad actions, closing.

    Args:
        factory: makes a fresh world each time it is called.

    Raises:
        CheckFailedError: names the first promise that did not hold.
    """
    first, second = factory(), factory()
    try:
        _check_spec(first.spec)
        _check_runs(first, second)
        _check_goals(first)
        _check_refusals(first)
        _check_no_truth_shown(first)
    finally:
        for world in (first, second):
            world.close()
    for world in (first, second):
        _hold(_is_quiet(world.close), world.spec, "close() can be called twice")


def _check_spec(spec: WorldSpec) -> None:
    low, high = spec.bounds.low, spec.bounds.high
    _hold(low.shape == high.shape and low.ndim == 1 and len(low) > 0, spec, "bounds are [A]")
    finite = bool(np.isfinite(low).all() and np.isfinite(high).all())
    _hold(finite and bool((low < high).all()), spec, "bounds are finite and low < high")
    _hold(spec.step_s > 0 and spec.budget > 0, spec, "step_s and budget are above zero")
    _hold(len(spec.sensors) > 0, spec, "there is at least one sensor")
    known = all(kind in _WANTED for kind in spec.sensors.values())
    _hold(known, spec, f"sensors are of the kinds {sorted(_WANTED)}")


def _check_runs(first: World, second: World) -> None:
    """Same seed and actions, same everything: in another world, and after another episode."""
    spec = first.spec
    once = _run(first, _SEED)
    _run(first, _SEED + 1)
    for name, run in (("the same", _run(first, _SEED)), ("another", _run(second, _SEED))):
        same = len(run) == len(once) and all(map(_equal, once, run))
        _hold(same, spec, f"{name} world repeats an episode to the bit from its seed")
    for observation in once:
        _check_observation(spec, observation)
    shapes = {name: values.shape for name, values in once[0].streams.items()}
    for observation in once:
        now = {name: values.shape for name, values in observation.streams.items()}
        _hold(now == shapes, spec, "observations keep their streams and shapes")
    if isinstance(second, BlindWorld) and len(once) > 1:
        last = _run_blind(second, _SEED, len(once) - 1)
        _hold(_equal(once[-1], last), spec, "advance does what step does, without a look")


def _run_blind(world: World, seed: int, steps: int) -> Observation:
    """Go through the episode of ``_run`` without looking, and return its last observation."""
    assert isinstance(world, BlindWorld)
    world.reset(seed)
    for step in range(steps - 1):
        world.advance(_action(world, seed, step))
    return world.step(_action(world, seed, steps - 1))


def _run(world: World, seed: int) -> list[Observation]:
    seen = [world.reset(seed)]
    for step in range(_STEPS):
        if getattr(world, "ended", False):
            break
        seen.append(world.step(_action(world, seed, step)))
    return seen


def _action(world: World, seed: int, step: int) -> np.ndarray:
    bounds = world.spec.bounds
    return generator("check_world", seed, step).uniform(bounds.low, bounds.high)


def _check_observation(spec: WorldSpec, observation: Observation) -> None:
    extra = set(observation.streams) - set(spec.sensors) - {"intrinsics"}
    _hold(not extra, spec, f"observations hold only what spec.sensors names, not {sorted(extra)}")
    for name, kind in spec.sensors.items():
        _hold(name in observation.streams, spec, f"observations hold the sensor {name!r}")
        values = observation.streams[name]
        axes, precision = _WANTED[kind]
        right = values.ndim == axes and values.dtype == np.dtype(precision)
        _hold(right, spec, f"{name!r} is {precision} with {axes} axes")
        finite = np.isfinite(values) | (np.isnan(values) & (kind in _GAPS))
        _hold(bool(finite.all()), spec, f"{name!r} is finite{_but_gaps(kind)}")
        if kind in _GAPS:
            _check_gaps(spec, name, kind, values)


def _but_gaps(kind: StreamKind) -> str:
    return ", or NaN where there is nothing" if kind in _GAPS else ""


def _check_gaps(spec: WorldSpec, name: str, kind: StreamKind, values: np.ndarray) -> None:
    if kind == "points":
        there = np.isfinite(values)
        whole = values.shape[1] >= 3 and bool((there.all(1) | ~there.any(1)).all())
        _hold(whole, spec, f"{name!r} has points of x, y, z and more, NaN as a whole or not at all")
        return
    _hold(bool((values[np.isfinite(values)] > 0).all()), spec, f"{name!r} is above zero")
    if kind == "lidar" and name in spec.beams_rad:
        same = spec.beams_rad[name].shape == (len(values), 2)
        _hold(same, spec, f"spec.beams_rad has azimuth and elevation of each beam of {name!r}")


def _check_goals(world: World) -> None:
    spec = world.spec
    for task in spec.tasks:
        before = world.reset(_SEED)
        truth = {name: values.copy() for name, values in world.truth().items()}
        goal = world.draw_goal(task, generator("check_world.goal", 0))
        after = world.truth()
        same = truth.keys() == after.keys() and all(
            np.array_equal(truth[name], after[name], equal_nan=True) for name in truth
        )
        _hold(same, spec, f"drawing a goal of {task!r} leaves the state untouched")
        _hold(goal.task == task, spec, f"a goal of {task!r} says so")
        _hold(_same_streams(before, goal), spec, f"a goal of {task!r} shows what sensors show")
        far = world.distance(goal)
        _hold(np.isfinite(far) and far > spec.success_distance, spec, f"{task!r} is not yet solved")
        action = world.expert(goal, generator("check_world.expert", 0))
        bounds = spec.bounds
        inside = action.shape == bounds.low.shape and bool(
            ((action >= bounds.low) & (action <= bounds.high)).all()
        )
        _hold(inside, spec, f"the expert's action for {task!r} is inside the bounds")


def _check_refusals(world: World) -> None:
    bounds = world.spec.bounds
    middle = (bounds.low + bounds.high) / 2
    bad = {
        "of wrong width": np.append(middle, 0.0),
        "with NaN": np.full_like(middle, np.nan),
        "outside the bounds": bounds.high + (bounds.high - bounds.low),
    }
    for name, action in bad.items():
        world.reset(_SEED)
        refused = False
        try:
            world.step(action)
        except ShapeError:
            refused = True
        _hold(refused, world.spec, f"an action {name} is refused with ShapeError")


def _check_no_truth_shown(world: World) -> None:
    shown = set(world.reset(_SEED).streams) & set(world.truth())
    _hold(not shown, world.spec, f"observations show no truth, not {sorted(shown)}")


def _equal(a: Observation, b: Observation) -> bool:
    return a.streams.keys() == b.streams.keys() and all(
        np.array_equal(a.streams[name], b.streams[name], equal_nan=True) for name in a.streams
    )


def _same_streams(observation: Observation, goal: Goal) -> bool:
    shown = {name: values.shape for name, values in observation.streams.items()}
    return shown == {name: values.shape for name, values in goal.observation.streams.items()}


def _is_quiet(call: Callable[[], None]) -> bool:
    try:
        call()
    except Exception:
        return False
    return True


def _hold(holds: bool, spec: WorldSpec, promise: str) -> None:
    if not holds:
        raise CheckFailedError(f"{spec.name}: check_world: this does not hold: {promise}.")

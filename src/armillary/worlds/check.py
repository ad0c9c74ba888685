"""``check_world``: what a world promises, tried on it. For everyone who writes one.

from armillary.worlds import check_world
check_world(lambda: MyWorld())
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from armillary.core.errors import CheckFailedError, ShapeError
from armillary.core.protocols import BlindWorld, World
from armillary.core.rng import generator
from armillary.core.values import Goal, Observation, StreamKind, WorldSpec

T = TypeVar("T")

_STEPS = 6
_SEED = 7
_LONG_SEED = (1 << 53) - 7  # manifests have seeds of 53 bits, recordings of 48
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


class _Moment(NamedTuple):
    """What was seen and what was true after a step."""

    seen: Observation
    truth: Mapping[str, np.ndarray]


def check_world(factory: Callable[[], World]) -> None:
    """Try a world: spec, sensors, determinism, seeds, goals, good and bad actions, closing.

    Args:
        factory: makes a fresh world each time it is called.

    Raises:
        CheckFailedError: names the first promise that did not hold.
    """
    first, second = factory(), factory()
    try:
        _check_spec(first.spec)
        _check_long_seed(first)
        once = _check_runs(first, second)
        _check_goals(first, second, once)
        _check_rounded_bounds(first)
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
    _hold(bool(np.isfinite(spec.step_s)), spec, "step_s is finite")
    _hold(len(spec.sensors) > 0, spec, "there is at least one sensor")
    known = all(kind in _WANTED for kind in spec.sensors.values())
    _hold(known, spec, f"sensors are of the kinds {sorted(_WANTED)}")


def _check_long_seed(world: World) -> None:
    taken = _is_quiet(lambda: world.reset(_LONG_SEED))
    _hold(taken, world.spec, "reset takes a seed of 53 bits")


def _check_runs(first: World, second: World) -> list[_Moment]:
    """Same seed and actions, same everything: in another world, and after another episode."""
    spec = first.spec
    once = _run(first, _SEED)
    _run(first, _SEED + 1)
    for name, run in (("the same", _run(first, _SEED)), ("another", _run(second, _SEED))):
        same = _same(once, run)
        _hold(same, spec, f"{name} world repeats an episode to the bit from its seed")
    for moment in once:
        _check_observation(spec, moment.seen)
    shapes = _shapes(once[0].seen)
    for moment in once:
        _hold(_shapes(moment.seen) == shapes, spec, "observations keep their streams and shapes")
    if isinstance(second, BlindWorld) and len(once) > 1:
        last = _run_blind(second, _SEED, len(once) - 1)
        same = _equal(once[-1].seen.streams, last.streams)
        _hold(same, spec, "advance does what step does, without a look")
    return once


def _run_blind(world: World, seed: int, steps: int) -> Observation:
    """Go through the episode of ``_run`` without looking, and return its last observation."""
    assert isinstance(world, BlindWorld)
    world.reset(seed)
    for step in range(steps - 1):
        _send(world, world.advance, _action(world, seed, step))
    return world.step(_action(world, seed, steps - 1))


def _run(world: World, seed: int) -> list[_Moment]:
    """Return copies of an episode's moments."""
    given = [_Moment(world.reset(seed), world.truth())]
    kept = [_copied(given[0])]
    for moment in _go_on(world, seed):
        given.append(moment)
        kept.append(_copied(moment))
    fresh = "what reset, step and truth gave stays as it is when the world goes on (new arrays)"
    _hold(_same(given, kept), world.spec, fresh)
    return kept


def _go_on(world: World, seed: int) -> Iterator[_Moment]:
    """Step through the rest of an episode that was just begun."""
    for step in range(_STEPS):
        if getattr(world, "ended", False):
            return
        seen = _send(world, world.step, _action(world, seed, step))
        yield _Moment(seen, world.truth())


def _send(world: World, move: Callable[[np.ndarray], T], action: np.ndarray) -> T:
    sent = action.copy()
    came = move(sent)
    untouched = np.array_equal(sent, action)
    _hold(untouched, world.spec, "the action that a world is given is not written into")
    return came


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


def _check_goals(world: World, other: World, once: list[_Moment]) -> None:
    spec = world.spec
    for task in spec.tasks:
        before = _copied(_Moment(world.reset(_SEED), world.truth()))
        goal = _draw(world, task)
        untouched = _equal(before.truth, world.truth())
        _hold(untouched, spec, f"drawing a goal of {task!r} leaves the state untouched")
        _hold(goal.task == task, spec, f"a goal of {task!r} says so")
        alike = _shapes(before.seen) == _shapes(goal.observation)
        _hold(alike, spec, f"a goal of {task!r} shows what sensors show")
        far = world.distance(goal)
        _hold(np.isfinite(far) and far > spec.success_distance, spec, f"{task!r} is not yet solved")
        action = world.expert(goal, generator("check_world.expert", 0))
        bounds = spec.bounds
        inside = action.shape == bounds.low.shape and bool(
            ((action >= bounds.low) & (action <= bounds.high)).all()
        )
        _hold(inside, spec, f"the expert's action for {task!r} is inside the bounds")
        _check_goal_again(other, goal, once)


def _check_goal_again(world: World, goal: Goal, once: list[_Moment]) -> None:
    """Draw a goal a second time, and go on with the episode that it was drawn in."""
    spec, task = world.spec, goal.task
    world.reset(_SEED)
    again = _draw(world, task)
    same = _equal(goal.truth, again.truth)
    same = same and _equal(goal.observation.streams, again.observation.streams)
    _hold(same, spec, f"the same generator draws the same goal of {task!r}")
    same = _same(once[1:], [*_go_on(world, _SEED)])
    _hold(same, spec, f"an episode in which a goal of {task!r} was drawn goes on as without it")


def _draw(world: World, task: str) -> Goal:
    return world.draw_goal(task, generator("check_world.goal", 0))


def _check_rounded_bounds(world: World) -> None:
    """Recordings and planners have actions in float32, which may lie just over a bound."""
    bounds, spec = world.spec.bounds, world.spec
    for name, bound in (("low", bounds.low), ("high", bounds.high)):
        world.reset(_SEED)
        error = _refusal(world, bound.astype(np.float32))
        _hold(error is None, spec, f"bounds.{name} is taken when it is rounded to float32")


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
        error = _refusal(world, action)
        came = "" if error is None else f", not with {type(error).__name__} ({error})"
        refused = isinstance(error, ShapeError)
        _hold(refused, world.spec, f"an action {name} is refused with ShapeError{came}")


def _refusal(world: World, action: np.ndarray) -> Exception | None:
    """Return what a world raises at an action."""
    try:
        _send(world, world.step, action)
    except CheckFailedError:
        raise
    except Exception as error:  # another's world may raise anything: the caller judges it
        return error
    return None


def _check_no_truth_shown(world: World) -> None:
    shown = set(world.reset(_SEED).streams) & set(world.truth())
    _hold(not shown, world.spec, f"observations show no truth, not {sorted(shown)}")


def _copied(moment: _Moment) -> _Moment:
    streams, truth = ({n: np.array(v) for n, v in part.items()} for part in _parts(moment))
    return _Moment(Observation(streams), truth)


def _same(run: Sequence[_Moment], other: Sequence[_Moment]) -> bool:
    """Tell whether two runs are the same to the bit."""
    return len(run) == len(other) and all(
        all(map(_equal, _parts(a), _parts(b))) for a, b in zip(run, other, strict=True)
    )


def _parts(moment: _Moment) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
    return moment.seen.streams, moment.truth


def _equal(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[name], b[name], equal_nan=True) for name in a
    )


def _shapes(observation: Observation) -> dict[str, tuple[int, ...]]:
    return {name: values.shape for name, values in observation.streams.items()}


def _is_quiet(call: Callable[[], object]) -> bool:
    try:
        call()
    except Exception:
        return False
    return True


def _hold(holds: bool, spec: WorldSpec, promise: str) -> None:
    if not holds:
        raise CheckFailedError(f"{spec.name}: check_world: this does not hold: {promise}.")

"""``check_world`` finds each broken promise and names it."""

from dataclasses import replace

import numpy as np
import pytest

from armillary.core.errors import CheckFailedError, ShapeError
from armillary.core.values import Goal, Observation
from armillary.worlds import check_world
from armillary.worlds.two_rooms.world import TwoRooms


class Broken(TwoRooms):
    """Two rooms, sound; each subclass breaks one promise."""


class Forgetful(Broken):
    count = 0

    def reset(self, seed):
        Forgetful.count += 1
        return super().reset(seed + Forgetful.count)


class Leaky(Broken):
    def observe(self):
        return Observation({**super().observe().streams, **self.truth()})


class Floating(Broken):
    def observe(self):
        return Observation({"rgb": super().observe().streams["rgb"].astype(np.float32)})


class Moved(Broken):
    def draw_goal(self, task, rng):
        goal = super().draw_goal(task, rng)
        self._xy = (0.1, 0.1)
        return goal


class Lax(Broken):
    def step(self, action):
        return super().step(np.clip(np.nan_to_num(np.resize(action, 2)), -0.025, 0.025))


class Sleepy(Broken):
    def advance(self, action):
        self.validated = action

    def step(self, action):
        super().advance(action)
        return self.observe()


class Solved(Broken):
    def draw_goal(self, task, rng):
        return Goal(task, self.observe(), self.truth())


class Reusing(Broken):
    """Draws into one buffer, as a renderer that is given one does."""

    buffer = np.zeros((64, 64, 3), np.uint8)

    def observe(self):
        self.buffer[:] = super().observe().streams["rgb"]
        return Observation({"rgb": self.buffer})


class ReusingTruth(Broken):
    places = np.zeros(2, np.float32)

    def truth(self):
        self.places[:] = super().truth()["agent_xy"]
        return {**super().truth(), "agent_xy": self.places}


class Writing(Broken):
    def advance(self, action):
        super().advance(action)
        action *= 0


class WritingFloat32(Broken):
    def advance(self, action):
        super().advance(action)
        if action.dtype == np.float32:
            action *= 0


class Wilful(Broken):
    def draw_goal(self, task, rng):
        return super().draw_goal(task, np.random.default_rng())


class Pushed(Broken):
    """A goal leaves something behind that no state tells."""

    wind = 0.0

    def reset(self, seed):
        self.wind = 0.0
        return super().reset(seed)

    def draw_goal(self, task, rng):
        self.wind = 0.01
        return super().draw_goal(task, rng)

    def advance(self, action):
        super().advance(np.clip(np.array(action) + self.wind, -0.025, 0.025))


class ShortSeeds(Broken):
    def reset(self, seed):
        np.random.RandomState(seed)
        return super().reset(seed)


class Strict(Broken):
    def advance(self, action):
        if (np.asarray(action, np.float64) > 0.025).any():
            raise ShapeError("outside the bounds")
        super().advance(action)


class Unshaped(Broken):
    def advance(self, action):
        super().advance(action + np.zeros(2))


class Endless(Broken):
    @property
    def spec(self):
        return replace(super().spec, step_s=float("inf"))


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Forgetful, "repeats an episode to the bit"),
        (Leaky, "only what spec.sensors names"),
        (Floating, "'rgb' is uint8"),
        (Moved, "leaves the state untouched"),
        (Lax, "of wrong width is refused"),
        (Sleepy, "advance does what step does"),
        (Solved, "'reach' is not yet solved"),
        (Reusing, "what reset, step and truth gave stays as it is"),
        (ReusingTruth, "what reset, step and truth gave stays as it is"),
        (Writing, "the action that a world is given is not written into"),
        (WritingFloat32, "the action that a world is given is not written into"),
        (Wilful, "the same generator draws the same goal of 'reach'"),
        (Pushed, "a goal of 'reach' was drawn goes on as without it"),
        (ShortSeeds, "reset takes a seed of 53 bits"),
        (Strict, "bounds.high is taken when it is rounded to float32"),
        (Unshaped, "of wrong width is refused with ShapeError, not with ValueError"),
        (Endless, "step_s is finite"),
    ],
)
def test_a_broken_promise_is_named(kind, promise):
    with pytest.raises(CheckFailedError, match=promise):
        check_world(kind)


def test_a_sound_world_passes():
    check_world(Broken)

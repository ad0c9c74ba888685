"""``check_world`` finds each broken promise and names it."""

import numpy as np
import pytest

from armillary.core.errors import CheckFailedError
from armillary.core.values import Goal, Observation
from armillary.worlds import check_world
from armillary.worlds.two_rooms import TwoRooms


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
    ],
)
def test_a_broken_promise_is_named(kind, promise):
    with pytest.raises(CheckFailedError, match=promise):
        check_world(kind)


def test_a_sound_world_passes():
    check_world(Broken)

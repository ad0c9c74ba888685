"""The recorder: same bytes for any number of workers, and nothing reported is ever lost."""

import hashlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from armillary.core.errors import ConfigError, ShapeError, WorldError
from armillary.data import open_dataset, verify
from armillary.worlds import record
from armillary.worlds.policies import POLICIES
from armillary.worlds.two_rooms.world import TwoRooms

SMALL = {"image_size": 32, "samples": 0}


class Crashing(TwoRooms):
    """Raises at the fourth step of its third episode."""

    episodes = steps = 0

    def reset(self, seed):
        self.episodes, self.steps = self.episodes + 1, 0
        return super().reset(seed)

    def step(self, action):
        self.steps += 1
        if (self.episodes, self.steps) == (3, 4):
            raise ZeroDivisionError("the gripper is stuck")
        return super().step(action)


class Stubborn(TwoRooms):
    """Cannot be closed."""

    def close(self):
        raise AttributeError("'NoneType' object has no attribute 'free'")


def tree(folder):
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.mark.runs  # processes start: 10 s
def test_workers_do_not_change_a_byte(tmp_path):
    arguments = {"episodes": 4, "steps": 6, "settings": SMALL}
    told = []
    one = record("tabletop", tmp_path / "one", workers=1, **arguments)
    two = record(
        "tabletop",
        tmp_path / "two",
        workers=2,
        progress=lambda done, total, note="": told.append((done, total)),
        **arguments,
    )
    assert (one.episodes, one.frames, two.frames) == (4, 24, 24)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert verify(tmp_path / "one").ok


def test_what_is_read_is_what_the_world_showed(tmp_path):
    sensors = ("rgb", "depth", "world_from_camera", "proprio")
    record("tabletop", tmp_path / "d", 1, 5, workers=1, sensors=sensors, settings=SMALL)
    episode = open_dataset(tmp_path / "d").read(0)
    assert {"rgb", "depth", "world_from_camera", "proprio", "pusher_xy"} <= set(episode.streams)
    assert episode.actions.shape == (4, 2)
    assert episode.time_ns.tolist() == [0, 10**8, 2 * 10**8, 3 * 10**8, 4 * 10**8]
    # Replaying the stored actions from the stored seed gives the stored truth, to the bit.
    from armillary.worlds.tabletop.world import Tabletop

    world = Tabletop(sensors=sensors, **SMALL)
    seen = [world.reset(int(episode.source.split("seed=")[1]))]
    truths = [world.truth()["pusher_xy"]]
    for action in episode.actions:
        seen.append(world.step(action))
        truths.append(world.truth()["pusher_xy"])
    world.close()
    assert np.array_equal(episode.streams["pusher_xy"].values, np.stack(truths))
    depth = np.stack([o.streams["depth"] for o in seen])
    assert np.abs(episode.streams["depth"].values - depth).max() <= 0.00051  # millimetres
    pose = np.stack([o.streams["world_from_camera"] for o in seen])
    assert np.array_equal(episode.streams["world_from_camera"].values, pose)


_KILLED = """
import sys
from armillary.worlds import record
def tell(done, total, note=""):
    print(done, flush=True)
if __name__ == "__main__":
    record("two_rooms", sys.argv[1], 24, 30, workers=int(sys.argv[2]), progress=tell)
"""


@pytest.mark.runs  # recorders are killed and started again: 14 s
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_killed_and_resumed_is_the_same_recording(tmp_path, workers):
    script = tmp_path / "killed.py"
    script.write_text(_KILLED)
    out = tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, script, out, str(workers)], stdout=subprocess.PIPE, text=True
    )
    with child:
        reported = [int(child.stdout.readline()) for _ in range(5)][-1]
        os.kill(child.pid, signal.SIGKILL)
    sidecars = [f for f in tree(out) if "episode-" in f and f.endswith(".json")]
    assert len(sidecars) >= reported
    with pytest.raises(ConfigError, match="--resume"):
        record("two_rooms", out, 24, 30, workers=1)
    resumed = record("two_rooms", out, 24, 30, workers=1, resume=True)
    assert resumed.episodes == 24
    assert resumed.frames <= (24 - reported) * 30
    record("two_rooms", tmp_path / "whole", 24, 30, workers=1)
    assert tree(out) == tree(tmp_path / "whole")
    assert verify(out).ok


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_world_that_raises_keeps_what_was_done(tmp_path, workers):
    with pytest.raises(WorldError) as caught:
        record(Crashing, tmp_path / "d", 8, 6, workers=workers)
    sentence = str(caught.value)
    assert "step 3" in sentence
    assert "ZeroDivisionError: the gripper is stuck" in sentence
    assert "of 8 episodes are kept" in sentence
    if workers == 1:
        assert "Episode 2, step 3" in sentence
        assert "2 of 8" in sentence


def test_a_world_that_cannot_be_closed_keeps_a_whole_recording(tmp_path):
    with pytest.raises(AttributeError, match="free"):
        record(Stubborn, tmp_path / "d", 1, 4, workers=1)
    assert verify(tmp_path / "d").hashed


def test_actions_that_are_no_numbers_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(POLICIES, "nan", lambda world, rng, state: (np.full(2, np.nan), state))
    with pytest.raises(ShapeError, match=r"Episode 0, step 0: .*not finite"):
        record("two_rooms", tmp_path / "d", 2, 5, policy="nan", workers=1)


def test_every_policy_records(tmp_path):
    for policy in POLICIES:
        out = tmp_path / policy
        record("two_rooms", out, 2, 8, policy=policy, workers=1)
        assert open_dataset(out).num_episodes == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"policy": "explor"}, "Did you mean 'explore'"),
        ({"episodes": 0}, "--episodes of 1 or more"),
        ({"steps": 1}, "--steps of 2 or more"),
        ({"seed": -1}, "--seed of 0 or more; got -1"),
        ({"world": "tabeltop"}, "Did you mean 'tabletop'"),
        ({"sensors": ("rbg",)}, "Did you mean 'rgb'"),
    ],
)
def test_wrong_arguments_write_nothing(tmp_path, arguments, sentence):
    out = tmp_path / "d"
    with pytest.raises(ConfigError, match=sentence):
        record(**{"world": "two_rooms", "out": out, "episodes": 1, "steps": 5, **arguments})
    assert not out.exists()

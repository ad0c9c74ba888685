"""A robot of ROS gets what the policy decides, rests where nothing is seen, and in the end."""

from __future__ import annotations

import base64
import importlib.util
import itertools
import json
import math
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from fake_rosbridge import HANG_UP, InStep, Server, fake_rosbridge, no_such_service, showing

from armillary.cli.main import main
from armillary.core.errors import ConfigError, FormatError, WorldError
from armillary.core.values import ActionBounds, Observation
from armillary.data.sources.ros_vectors import COMMANDS
from armillary.evaluation import ModelSpec, WorldFactory
from armillary.planning import Planning
from armillary.serve import Decider, Session, ros, rosbridge, world_of_a_robot
from armillary.serve.ros import ARRAYS, TWIST, Drive, Topics, drive, message_of, resting, stream_of
from armillary.serve.rosbridge import Rosbridge

SETTINGS, STEP_S, STEPS = {"image_size": 16}, 0.3, 4
LOW, HIGH = (-0.02, 0.005), (0.02, 0.025)
REST, CAMERA = [0.0, 0.005], "/camera/compressed"

SCRIPT = Path(__file__).parents[2] / "scripts" / "record_rosbridge.py"
spec = importlib.util.spec_from_file_location("record_rosbridge", SCRIPT)
assert spec and spec.loader
recorder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recorder)


@pytest.fixture(scope="module")
def decider(folder: Path) -> Decider:
    return Decider.load(ModelSpec(folder), world_of_a_robot(LOW, HIGH, STEP_S, STEPS))


def pictures() -> list[np.ndarray]:
    world = WorldFactory("two_rooms", SETTINGS)()
    seen = [world.reset(3).streams["rgb"]]
    seen += [world.step(np.array([0.02, 0.0])).streams["rgb"] for _ in range(STEPS + 1)]
    world.close()
    return seen


class Scripted:
    """A robot whose pictures come in order, one a step; None is a picture that is too old."""

    def __init__(self, seen: list[np.ndarray | None]) -> None:
        self.seen, self.sent, self.asked = seen, [], 0

    def latest(self) -> Mapping[str, tuple[np.ndarray, float]]:
        picture = self.seen[min(self.asked, len(self.seen) - 1)]
        self.asked += 1
        return {} if picture is None else {"rgb": (picture, 0.1)}

    def send(self, action: np.ndarray) -> None:
        self.sent.append(np.array(action))


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def driven(decider: Decider, robot: Scripted, **settings: Any) -> ros.Driven:
    clock, goal = Clock(), Observation({"rgb": pictures()[-1]})
    return drive(decider, robot, goal, Drive(STEPS, **settings), sleep=clock.sleep, clock=clock)


def alone(decider: Decider, seen: list[np.ndarray]) -> list[np.ndarray]:
    """Return what the policy decides in this process."""
    session, request = Session(decider), {"goal/rgb": pictures()[-1], "steps": STEPS}
    actions = []
    for picture in seen:
        actions.append(session.decide({**request, "observation/rgb": picture})["actions"][0])
        request = {}
    return actions


def test_a_robot_gets_what_the_policy_decides_and_rests_in_the_end(decider: Decider) -> None:
    seen = pictures()[:STEPS]
    robot = Scripted([*seen])
    done = driven(decider, robot)
    assert (done.steps, done.waited, done.stopped) == (STEPS, 0, "")
    np.testing.assert_array_equal(robot.sent[:-1], alone(decider, seen))
    np.testing.assert_array_equal(robot.sent[-1], [0.0, 0.005])  # the nearest to zero inside


def test_it_rests_where_no_message_is_new_enough(decider: Decider) -> None:
    one, two, *_ = pictures()
    robot = Scripted([None, one, None, two])
    done = driven(decider, robot, rest=(0.01, 0.01))
    assert done.waited == 2
    first, *_ = alone(decider, [one])
    np.testing.assert_array_equal(robot.sent[0], first)  # nothing is sent before a picture arrived
    np.testing.assert_array_equal(robot.sent[1], [0.01, 0.01])
    np.testing.assert_array_equal(robot.sent[-1], [0.01, 0.01])
    old = SimpleNamespace(latest=lambda: {"rgb": (one, 0.6)}, sent=[], send=lambda action: None)
    with pytest.raises(WorldError, match=r"No message of rgb arrived for 1 s. Nothing was sent."):
        driven(decider, old, patience_s=1.0)
    robot = Scripted([one, None])
    with pytest.raises(WorldError, match=r"No new message of rgb arrived for 1 s. 1 actions"):
        driven(decider, robot, patience_s=1.0)


def test_after_a_wait_the_memory_begins_anew_and_the_goal_stays(decider: Decider) -> None:
    session, (one, two, *_) = Session(decider), pictures()
    request = {"goal/rgb": pictures()[-1], "steps": STEPS, "observation/rgb": one}
    for expected in (1, 2, 3):
        session.decide(request)
        request = {"observation/rgb": two}
        assert len(session._state.seen) == len(session._state.done) == expected
    goal = session._state.goal
    session.interrupted()
    session.decide(request)
    assert len(session._state.seen) == len(session._state.done) == 1
    assert session._state.goal is goal


def test_it_rests_however_a_drive_ends(decider: Decider) -> None:
    robot = Scripted([pictures()[0], np.zeros((2, 2), np.uint8)])  # the second is no picture
    with pytest.raises(FormatError, match="uint8 picture"):
        driven(decider, robot)
    np.testing.assert_array_equal(robot.sent[-1], resting(decider.world.bounds))
    assert len(robot.sent) == 2


def test_where_a_guard_stops_it_the_chosen_resting_action_is_sent(
    decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = Session.decide

    def stopped(self: Session, request: Mapping[str, Any]) -> dict:
        reply = decide(self, request)
        stop = {"stop": np.array([True]), "plan": {"alarm": "scene", "deadline_missed": False}}
        return {**reply, **stop, "actions": np.array([[0.0, 0.005]])}

    monkeypatch.setattr(Session, "decide", stopped)
    robot = Scripted([*pictures()])
    done = driven(decider, robot, rest=(0.01, 0.02))
    assert (done.steps, done.stopped) == (1, "scene")
    np.testing.assert_array_equal(robot.sent, [[0.01, 0.02]] * 2)


def test_what_is_not_a_number_is_never_sent(
    decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = np.array([np.nan, 0.0])
    monkeypatch.setattr(type(decider.policy), "act", lambda self, seen, state: (lost, state))
    robot = Scripted([*pictures()])
    with pytest.raises(WorldError, match="not a number"):
        driven(decider, robot)
    np.testing.assert_array_equal(robot.sent, [resting(decider.world.bounds)])


def test_a_command_is_read_back_from_a_log_as_the_action_that_it_was() -> None:
    action = np.array([0.1, 0.2, 0.3, -0.4, 0.5, 0.6])
    for kind in (TWIST, *ARRAYS):
        message = ros._named(message_of(kind, action))
        np.testing.assert_allclose(COMMANDS[kind]()(message), action)
    with pytest.raises(ConfigError, match="A Twist has six numbers, and the actions have 2"):
        message_of(TWIST, action[:2])


def test_pictures_of_every_kind_are_what_the_camera_saw() -> None:
    rgb = np.arange(4 * 3 * 3, dtype=np.uint8).reshape(4, 3, 3)
    padded = np.zeros((4, 12), np.uint8)  # rows of 9 bytes are padded to 12
    padded[:, :9] = rgb[..., ::-1].reshape(4, 9)
    raw = {"height": 4, "width": 3, "step": 12, "encoding": "bgr8", "is_bigendian": 0}
    raw["data"] = base64.b64encode(padded.tobytes()).decode()
    np.testing.assert_array_equal(stream_of("rgb", ros.IMAGE, raw, "/image"), rgb)
    png = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
    packed = {"format": "png", "data": base64.b64encode(png).decode()}
    np.testing.assert_array_equal(stream_of("rgb", ros.COMPRESSED, packed, "/image"), rgb)
    mm = np.array([[0, 1500]], np.uint16)
    deep = {"height": 1, "width": 2, "step": 4, "encoding": "16UC1", "is_bigendian": 0}
    deep["data"] = list(mm.tobytes())
    found = stream_of("depth", ros.IMAGE, deep, "/depth")
    np.testing.assert_array_equal(found, np.array([[np.nan, 1.5]], np.float32))


def test_a_state_of_joints_is_in_the_order_of_their_names() -> None:
    joints = {"name": ["b", "a"], "position": [1.0, 2.0], "velocity": [], "effort": []}
    found = stream_of("proprio", "sensor_msgs/msg/JointState", joints, "/joints")
    np.testing.assert_array_equal(found, [2.0, 1.0])


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"format": "png", "data": "not base64!"},
        {"format": "png", "data": "AAAA"},
        {"height": 4, "width": 3, "step": 9, "encoding": "rgb8", "is_bigendian": 0, "data": ""},
        {"height": "4", "width": 3, "step": 9, "encoding": "rgb8", "is_bigendian": 0, "data": ""},
    ],
    ids=["empty", "no base64", "no picture", "too short", "wrong type"],
)
def test_a_damaged_message_is_one_sentence(message: dict) -> None:
    with pytest.raises(FormatError, match="/image"):
        stream_of("rgb", ros.IMAGE, message, "/image")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image": "camera"}, "begins with a slash"),
        ({"action_type": "std_msgs/msg/String"}, "Actions are sent as geometry_msgs/msg/Twist"),
        ({"state_type": "std_msgs/msg/String"}, "A state is read from"),
    ],
)
def test_topics_that_cannot_be_are_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        replace(Topics("/image", "/command"), **change)


def test_equal_bounds_hold_an_action_still_and_reversed_ones_are_refused() -> None:
    world = world_of_a_robot((-1.0, 0.0), (1.0, 0.0), 0.1, 5)
    np.testing.assert_array_equal(resting(world.bounds), [0.0, 0.0])
    assert isinstance(world.bounds, ActionBounds)
    for low, high in (((0.0,), (0.0,)), ((1.0, 0.0), (0.0, 1.0))):
        with pytest.raises(ConfigError, match="low below high"):
            world_of_a_robot(low, high, 0.1, 5)


@pytest.fixture
def in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rosbridge, "Rosbridge", InStep)
    monkeypatch.setattr(rosbridge, "_ANSWER_S", 30.0)  # machines are shared


def words_of_a_drive(folder: Path, goal: Path, address: str) -> list[str]:
    cv2.imwrite(str(goal), pictures()[-1][..., ::-1])
    words = ["ros", str(folder), "--goal", str(goal), "--image", CAMERA, "--planner", "direct"]
    words += ["--action", "/command", "--action-type", ARRAYS[0], "--address", address]
    words += ["--low", *map(str, LOW), "--high", *map(str, HIGH)]
    return [*words, "--step-s", "0.05", "--steps", str(STEPS), "--json"]


def actions_in(heard: list[dict]) -> list[list[float]]:
    return [said["msg"]["data"] for said in heard if said["op"] == "publish"]


def test_roslibpy_drives_a_robot_behind_rosbridge(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, in_step: None
) -> None:
    seen = pictures()[:STEPS]
    with fake_rosbridge(showing(seen, CAMERA)) as server:
        assert main(words_of_a_drive(folder, tmp_path / "goal.png", server.address)) == 0
        *acted, last = actions_in(server.heard)  # when the drive has ended, all of it has arrived
    value = json.loads(capsys.readouterr().out)
    assert (value["steps"], value["waited"], value["confirmed"]) == (STEPS, 0, True)
    world = world_of_a_robot(LOW, HIGH, STEP_S, STEPS)
    direct = Decider.load(ModelSpec(folder, Planning("direct")), world)
    np.testing.assert_allclose(acted, alone(direct, seen))
    assert last == REST
    about = {said["op"]: said for said in server.heard}
    assert about["advertise"]["type"] == ARRAYS[0]
    assert about["subscribe"]["type"] == ros.COMPRESSED
    # a server with a queue never stops to send what is left in it (rosbridge_suite 2.1.0)
    assert about["subscribe"]["queue_length"] == 0


def robot_at(server: Server) -> Rosbridge:
    return Rosbridge(server.address, Topics(CAMERA, "/command", action_type=ARRAYS[0]))


def test_the_last_action_arrives_though_both_sides_are_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from twisted.internet import reactor

    monkeypatch.setattr(rosbridge, "_ANSWER_S", 30.0)
    with fake_rosbridge(no_such_service, slow_s=0.05) as server:
        robot = robot_at(server)
        # the thread that sends is busy, as on a loaded machine
        reactor.callFromThread(time.sleep, 0.3)
        for number in range(3):
            robot.send(np.array([float(number)]))
        assert robot.close()
        assert actions_in(server.heard) == [[0.0], [1.0], [2.0]]


def test_a_server_that_confirms_nothing_is_left_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rosbridge, "_ANSWER_S", 0.2)
    with fake_rosbridge(lambda said: []) as server:
        robot = robot_at(server)
        robot.send(np.array([1.0]))
        assert not robot.close()
        robot = robot_at(server)
        assert robot.close()  # nothing was sent that could be lost
        assert server.connections == 2


def test_a_lost_connection_ends_a_drive_and_old_actions_are_never_sent(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, in_step: None
) -> None:
    show = showing(pictures(), CAMERA)

    def answer(said: dict) -> list:
        second = len(actions_in(server.heard)) == 2
        return [*show(said), *([HANG_UP] if second else [])]

    with fake_rosbridge(answer) as server:
        assert main(words_of_a_drive(folder, tmp_path / "goal.png", server.address)) == 2
        assert "was lost, so the robot was not told to rest" in capsys.readouterr().err
        time.sleep(1.5)  # roslibpy would connect again after a second
        assert (server.connections, len(actions_in(server.heard))) == (1, 2)


def test_a_drive_that_is_terminated_ends_with_the_resting_action(
    folder: Path, tmp_path: Path, in_step: None
) -> None:
    show, before = showing(pictures(), CAMERA), signal.getsignal(signal.SIGTERM)

    def answer(said: dict) -> list:
        if len(actions_in(server.heard)) == 2 and said["op"] == "publish":
            os.kill(os.getpid(), signal.SIGTERM)
        return show(said)

    with fake_rosbridge(answer) as server:
        assert main(words_of_a_drive(folder, tmp_path / "goal.png", server.address)) == 130
        assert actions_in(server.heard)[-1] == REST
    assert signal.getsignal(signal.SIGTERM) is before


class Replay:
    """Plays the server's part of a recorded exchange, and compares the client's part with it.

    Ids are names that a client chooses: they may be others than the recorded ones, but must be used
    for the same things.
    """

    def __init__(self, lines: list[dict]) -> None:
        self.left, self.ids, self.differences = list(lines), {}, []

    def __call__(self, said: dict) -> list[dict]:
        if not self.left:
            self.differences.append(f"nothing more was recorded: {said}")
            return []
        expected = self.left.pop(0)["message"]
        recorded = expected.get("id")
        if self.ids.setdefault(recorded, said.get("id")) != said.get("id"):
            self.differences.append(f"another id: {said}")
        if not same({**said, "id": recorded}, expected):
            self.differences.append(f"{said} is not {expected}")
        replies = []
        while self.left and self.left[0]["from"] == "server":
            reply = self.left.pop(0)["message"]
            replies.append({**reply, "id": self.ids[reply["id"]]} if "id" in reply else reply)
        return replies


def same(said: Any, expected: Any) -> bool:
    """Compare JSON; processors may differ in the last digits of a decision."""
    if isinstance(expected, dict):
        return said.keys() == expected.keys() and all(same(said[n], expected[n]) for n in expected)
    if isinstance(expected, list):
        return len(said) == len(expected) and all(map(same, said, expected))
    if isinstance(expected, float):
        return isinstance(said, float) and math.isclose(said, expected, abs_tol=1e-4)
    return said == expected


@pytest.mark.parametrize("name", ["twist", "array"])
def test_a_recorded_exchange_with_a_real_rosbridge_is_repeated(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture, in_step: None
) -> None:
    every = [json.loads(line) for line in recorder.FILE.read_text().splitlines()]
    begin = next(i for i, line in enumerate(every) if line.get("drive") == name)
    about, *after = every[begin:]
    lines = list(itertools.takewhile(lambda line: "message" in line, after))
    replay = Replay(lines)
    with fake_rosbridge(replay) as server:
        assert main(recorder.words_of(about, server.address, tmp_path)) == 0
    assert replay.differences == []
    assert replay.left == []
    assert json.loads(capsys.readouterr().out)["confirmed"]
    said = [line["message"]["op"] for line in lines if line["from"] == "client"]
    actions = ["publish"] * (recorder.STEPS + 1)
    leaving = ["call_service", "unsubscribe", "unadvertise"]
    assert said == ["advertise", "subscribe", *actions, *leaving]


def test_wrong_use_is_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rosbridge, "_CONNECT_S", 0.3)
    words = ["ros", str(folder), "--image", "/camera", "--action", "/command"]
    bounds = ["--low", "-1", "-1", "--high", "1", "1", "--action-type", ARRAYS[0]]
    goal = tmp_path / "goal.png"
    cv2.imwrite(str(goal), pictures()[0])
    for more, sentence in (
        ([*bounds], "A drive needs one goal"),
        ([*bounds, "--rest", "2", "0"], "--rest is an action inside the bounds"),
        (["--low", "-1", "-1", "--high", "1", "1"], "A Twist has six numbers"),
        ([*bounds, "--goal", str(tmp_path / "no.png")], "no.png"),
        (
            [*bounds, "--goal", str(goal), "--address", "ws://127.0.0.1:9"],
            "No rosbridge answers at ws://127.0.0.1:9",
        ),
        ([*bounds, "--goal", str(goal), "--address", "foo"], "--address is ws://HOST:PORT"),
    ):
        assert main([*words, *more]) in (1, 2)
        err = capsys.readouterr().err.splitlines()
        assert sentence in err[-1] and "Traceback" not in "".join(err), err

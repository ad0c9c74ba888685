"""ROS: a model drives a robot of ROS 2 through rosbridge, without ROS on this machine.

    image, depth, state topics  ->  observation  ->  policy  ->  action topic

Every step begins with the newest messages. Where one is too old, the resting action is sent, and it
is sent once more when the drive ends. Nothing is sent before the first messages. A robot also needs
a watchdog of its own: when the connection is lost, nothing can be sent, and the drive ends.

Messages come as JSON, whose ``data`` of bytes is base64. An action is sent in the order in which
``ingest`` reads it from a log: a Twist as three linear and three angular numbers.

Axes: H W image, A action, Q proprioception.
Source: rosbridge v2 protocol, github.com/RobotWebTools/rosbridge_suite, ``ROSBRIDGE_PROTOCOL.md``.
"""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from armillary.core.errors import ConfigError, FormatError, WorldError
from armillary.core.values import ActionBounds, Observation
from armillary.data.sources.ros_images import COMPRESSED, IMAGE, colour_of, depth_of
from armillary.data.sources.ros_vectors import ROWS
from armillary.serve.session import Decider, Session

TWIST = "geometry_msgs/msg/Twist"
ARRAYS = ("std_msgs/msg/Float64MultiArray", "std_msgs/msg/Float32MultiArray")
_TWIST_PARTS = (("linear", "xyz"), ("angular", "xyz"))
_DECIDES_IN = 0.8  # share of a step


@dataclass(frozen=True)
class Topics:
    """What is read from where, and where actions go.

    Attributes:
        image: of colour; ends in ``compressed`` where it is a CompressedImage.
        action: of the commands.
        depth: of a depth camera; empty for none.
        state: of joints or odometry, which become proprioception; empty for none.
        action_type: of the commands.
        state_type: of the state.

    Raises:
        ConfigError: a type that is not read or sent, or a name that is none.
    """

    image: str
    action: str
    depth: str = ""
    state: str = ""
    action_type: str = TWIST
    state_type: str = "sensor_msgs/msg/JointState"

    def __post_init__(self) -> None:
        for name in filter(None, (self.image, self.action, self.depth, self.state)):
            if not name.startswith("/") or any(sign.isspace() for sign in name):
                raise ConfigError(f"A topic begins with a slash and has no blanks: {name!r}.")
        if self.action_type not in (TWIST, *ARRAYS):
            known = ", ".join((TWIST, *ARRAYS))
            raise ConfigError(f"Actions are sent as {known}; got {self.action_type!r}.")
        if self.state_type not in ROWS:
            raise ConfigError(f"A state is read from {', '.join(ROWS)}; got {self.state_type!r}.")

    @property
    def streams(self) -> dict[str, tuple[str, str]]:
        """Topic and type of each stream that is read."""
        pictures = {"rgb": self.image, "depth": self.depth}
        found = {
            stream: (topic, COMPRESSED if "compressed" in topic.rsplit("/", 1)[-1] else IMAGE)
            for stream, topic in pictures.items()
            if topic
        }
        return {**found, "proprio": (self.state, self.state_type)} if self.state else found


@dataclass(frozen=True)
class Drive:
    """Settings of a drive.

    Attributes:
        steps: actions at most.
        stale_s: a message older than this is not acted on.
        patience_s: without a message that is not stale for so long, the drive ends.
        rest: action that holds the robot still; empty for the one nearest to zero.

    Raises:
        ConfigError: one that is not above 0.
    """

    steps: int
    stale_s: float = 0.5
    patience_s: float = 5.0
    rest: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.stale_s > 0 or not self.patience_s >= self.stale_s:
            raise ConfigError(
                "A drive needs at least one step, and seconds above 0 until a message is too old, "
                f"no more than those of patience; got {self}."
            )


@dataclass
class Driven:
    """What happened.

    Attributes:
        steps: actions of the policy that were sent.
        waited: steps in which no message was new enough, so that the robot rested.
        late: decisions that took longer than a step.
        clipped: actions that were brought into the bounds.
        stopped: why a guard stopped; empty where none did.
        ms: of each decision.
    """

    steps: int = 0
    waited: int = 0
    late: int = 0
    clipped: int = 0
    stopped: str = ""
    ms: list[float] = field(default_factory=list)


class Robot(Protocol):
    """What a drive needs of a robot."""

    def latest(self) -> Mapping[str, tuple[np.ndarray, float]]:
        """Return the newest array of each stream, and its age in seconds."""
        ...

    def send(self, action: Float[np.ndarray, " A"]) -> None:
        """Send an action, now or never: one that arrives late is dangerous.

        Raises:
            WorldError: the connection was lost.
        """
        ...


def drive(
    decider: Decider,
    robot: Robot,
    goal: Observation,
    settings: Drive,
    progress: Callable[[int, int], None] = lambda done, total: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Driven:
    """Drive a robot towards a goal.

    Args:
        decider: whose policy acts; its world says bounds and the seconds of a step.
        robot: that is driven.
        goal: what it shall see in the end.
        settings: how long, and what is too old.
        progress: called with steps done and in all.
        sleep: waits for some seconds.
        clock: seconds, for the pace.

    Raises:
        ConfigError: the resting action is not one of the robot's.
        WorldError: no message arrived for too long, the connection was lost, or the policy decided
            something that is not a number.
        FormatError: a message that is not what it says.
    """
    session, done = Session(decider), Driven()
    step_s, rest = decider.world.step_s, resting(decider.world.bounds, settings.rest)
    request: dict[str, Any] = {f"goal/{name}": values for name, values in goal.streams.items()}
    # a search without a goal policy cannot be cut short, and is as slow as it is
    limit = {"latency_budget_ms": 1000 * _DECIDES_IN * step_s} if decider.keeps_time else {}
    request |= {"steps": settings.steps, **limit}
    silent_since = due = clock()
    begun = False
    try:
        while done.steps < settings.steps and not done.stopped:
            seen = _fresh(decider, robot, settings.stale_s)
            if seen is None:
                done.waited += 1
                if begun:
                    robot.send(rest)
                    session.interrupted()
                if clock() - silent_since > settings.patience_s:
                    raise WorldError(
                        f"No new message of {', '.join(decider.policy.observes)} arrived for "
                        f"{settings.patience_s:g} s. {done.steps} actions were sent; the robot was "
                        "told to rest."
                        if begun
                        else f"No message of {', '.join(decider.policy.observes)} arrived for "
                        f"{settings.patience_s:g} s. Nothing was sent."
                    )
            else:
                silent_since, begun = clock(), True
                reply = session.decide({**request, **seen})
                request = dict(limit)
                robot.send(_sendable(reply, rest))
                _note(done, reply, step_s)
                progress(done.steps, settings.steps)
            due = max(due + step_s, clock() - step_s)  # what was late is not made up for at once
            sleep(max(due - clock(), 0.0))
    finally:
        if begun:
            robot.send(rest)
    return done


def resting(bounds: ActionBounds, chosen: tuple[float, ...] = ()) -> Float[np.ndarray, " A"]:
    """Return the action that holds a robot still.

    Args:
        bounds: of the robot.
        chosen: it; empty for the action nearest to zero.

    Raises:
        ConfigError: what was chosen is not inside the bounds.
    """
    if not chosen:
        return np.clip(np.zeros(bounds.width), bounds.low, bounds.high)
    rest = np.array(chosen, np.float64)
    fits = len(rest) == bounds.width and np.isfinite(rest).all()
    if not fits or not ((rest >= bounds.low) & (rest <= bounds.high)).all():
        raise ConfigError(f"--rest is an action inside the bounds; got {[*chosen]}.")
    return rest


def _fresh(decider: Decider, robot: Robot, stale_s: float) -> dict[str, np.ndarray] | None:
    """Return what the policy sees, for a request; None where a part is missing or too old."""
    latest, seen = robot.latest(), {}
    for stream in decider.policy.observes:
        values, age_s = latest.get(stream, (None, math.inf))
        if values is None or age_s > stale_s:
            return None
        seen[f"observation/{stream}"] = values
    return seen


def _sendable(reply: Mapping[str, Any], rest: Float[np.ndarray, " A"]) -> Float[np.ndarray, " A"]:
    """Return the action of a reply, or the resting one where the guard stopped the policy.

    A guard's own action is the one nearest to zero, which for positions is a movement.
    """
    return rest if reply["stop"][0] else reply["actions"][0]


def _note(done: Driven, reply: Mapping[str, Any], step_s: float) -> None:
    ms = float(reply["policy_timing"]["infer_ms"])
    done.ms.append(ms)
    done.steps += 1
    done.late += ms > 1000 * step_s
    done.clipped += bool(reply["clipped"][0])
    if reply["stop"][0]:
        done.stopped = str(reply["plan"]["alarm"])


def stream_of(stream: str, kind: str, message: Mapping[str, Any], topic: str) -> np.ndarray:
    """Return the array of a message, as a policy sees it.

    Args:
        stream: ``rgb``, ``depth`` or ``proprio``.
        kind: type of the message.
        message: as rosbridge sends it.
        topic: of the message, for the sentence.

    Returns:
        uint8 [H W 3], depth in metres float32 [H W] (NaN is invalid), or float32 [Q].

    Raises:
        FormatError: damaged, or of another type.
    """
    try:
        said = _named(message)
        if stream == "proprio":
            row = ROWS[kind]()(said)
            return np.asarray(row, np.float32)
        said.data = np.frombuffer(_bytes(said.data, topic), np.uint8)
        if stream == "rgb":
            return colour_of(said, topic)
        depth_m = depth_of(said, None, topic).astype(np.float32) / 1000
        return np.where(depth_m > 0, depth_m, np.float32(np.nan))
    except (AttributeError, TypeError, ValueError) as error:
        raise FormatError(f"{topic}: a message is no {kind}: {error}.") from error


def _named(value: Any) -> Any:
    """Return a JSON value whose objects have their fields as attributes."""
    if isinstance(value, Mapping):
        return SimpleNamespace(**{str(name): _named(one) for name, one in value.items()})
    if isinstance(value, list):
        return [_named(one) for one in value]
    return math.nan if value is None else value  # JSON has no NaN; rosbridge sends null


def _bytes(data: Any, topic: str) -> bytes:
    if isinstance(data, list):
        return bytes(data)
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise FormatError(f"{topic}: the picture of a message is no base64: {error}.") from error


def message_of(kind: str, action: Float[np.ndarray, " A"]) -> dict[str, Any]:
    """Return the message that an action is sent as.

    Args:
        kind: one of ``TWIST`` and ``ARRAYS``.
        action: a Twist has six numbers.

    Raises:
        ConfigError: a Twist of another number.
    """
    numbers = [float(number) for number in action]
    if kind in ARRAYS:
        return {"layout": {"dim": [], "data_offset": 0}, "data": numbers}
    if len(numbers) != 6:
        raise ConfigError(
            f"A Twist has six numbers, and the actions have {len(numbers)}. Send them as "
            f"{ARRAYS[0]} (--action-type), or record actions that are Twists."
        )
    return {
        part: dict(zip(axes, numbers[3 * index :], strict=False))
        for index, (part, axes) in enumerate(_TWIST_PARTS)
    }

"""Ros: a model drives a robot of ROS 2 through rosbridge."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tyro.conf import Positional

from armillary.cli.outcome import Outcome
from armillary.cli.parse import existing
from armillary.cli.planning import PlanningFlags
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError, MissingExtraError


@dataclass(frozen=True, kw_only=True)
class Ros(PlanningFlags):
    """Drive a robot of ROS 2 towards a picture, through rosbridge. ROS is not needed here.

    At every step the newest picture is read, and an action inside the bounds is sent. Where no
    picture is new, and when the drive ends, the resting action is sent. When the connection is
    lost, nothing can be sent: the robot needs a watchdog of its own.

    e.g. armillary ros out/run --goal there.png --image /camera/image_raw/compressed --action
    /cmd_vel --low -0.3 0 0 0 0 -1 --high 0.3 0 0 0 0 1
    """

    goes_on: ClassVar[bool] = False

    model: Positional[str]
    """Model folder, run folder, zoo:NAME, or Hub id."""
    image: str
    """Topic of colour pictures. One that ends in `compressed` has CompressedImages."""
    action: str
    """Topic of the commands."""
    low: tuple[float, ...]
    """Lowest value of each action."""
    high: tuple[float, ...]
    """Highest value of each action."""
    goal: Path | None = None
    """Picture of the goal. Or a step of a dataset: --goal-data, --goal-episode, --goal-step."""
    goal_data: Path | None = None
    """Dataset that holds the goal."""
    goal_episode: int = 0
    """Episode of the goal."""
    goal_step: int = -1
    """Step of the goal. Negative numbers count from the end."""
    depth: str = ""
    """Topic of depth pictures, for a model that sees depth."""
    state: str = ""
    """Topic of the robot's state, for a model that sees proprioception."""
    state_type: str = "sensor_msgs/msg/JointState"
    """Type of the state: JointState, or nav_msgs/msg/Odometry."""
    action_type: str = "geometry_msgs/msg/Twist"
    """Type of the commands: a Twist of six numbers, or std_msgs/msg/Float64MultiArray."""
    address: str = "ws://127.0.0.1:9090"
    """Of the rosbridge server."""
    step_s: float = 0.1
    """Seconds that an action lasts."""
    steps: int = 50
    """Actions at most."""
    stale_s: float = 0.5
    """A message older than this is not acted on."""
    rest: tuple[float, ...] = ()
    """Action that holds the robot still. Default: the one nearest to zero."""
    guard: Path | None = None
    """guard.json of `armillary guard`: stop when predictions fail."""

    def run(self) -> Outcome:
        """Drive."""
        import numpy as np

        if self.guard is not None:
            existing(self.guard, "a guard.json file")
        try:
            from armillary.serve import Decider, world_of_a_robot
        except ImportError as error:
            raise MissingExtraError(
                "Driving a robot needs the extras serve and ros. Install them with: pip install "
                "'armillary[serve,ros]'"
            ) from error
        from armillary.evaluation.sub_goals import acting_spec
        from armillary.serve.ros import Drive, Topics, drive, message_of, resting
        from armillary.serve.rosbridge import Rosbridge
        from armillary.zoo.finding import find_model

        topics = Topics(
            self.image, self.action, self.depth, self.state, self.action_type, self.state_type
        )
        settings = Drive(self.steps, self.stale_s, rest=self.rest)
        world = world_of_a_robot(self.low, self.high, self.step_s, self.steps)
        message_of(self.action_type, resting(world.bounds, self.rest))
        spec = acting_spec(find_model(self.model), self.planning())
        decider = Decider.load(spec, world, self.guard)
        unseen = [name for name in decider.policy.observes if name not in topics.streams]
        if unseen:
            raise ConfigError(
                f"The model sees {', '.join(unseen)}, and no topic gives it. --image, --depth and "
                "--state name topics of rgb, depth and proprio; others cannot be read."
            )
        goal = self._goal(decider.policy.observes)
        decider.warm_up()
        with _terminable():
            robot = Rosbridge(self.address, topics)
            print(f"driving over {self.address}; Ctrl-C stops it", file=sys.stderr, flush=True)
            try:
                with bar("driving") as progress:
                    done = drive(decider, robot, goal, settings, progress)
            finally:
                confirmed = robot.close()
        value = {**vars(done), "ms": float(np.median(done.ms)) if done.ms else None}
        value["confirmed"] = confirmed
        unsure = "" if confirmed else ", and rosbridge did not confirm that"
        said = [
            f"{done.steps} actions sent, {done.waited} steps without a new message, {done.late} "
            f"late decisions, {done.clipped} actions clipped. The robot was told to rest{unsure}."
        ]
        if done.stopped:
            said.insert(0, f"stopped by the guard: {done.stopped}")
        return Outcome(value, tuple(said))

    def _goal(self, observes: Any) -> Any:
        """Return what the robot shall see in the end."""
        import armillary as arm
        from armillary.core.values import Observation
        from armillary.data.encoded import decode_rgb

        if (self.goal is None) == (self.goal_data is None):
            raise ConfigError("A drive needs one goal: --goal PICTURE, or --goal-data DATASET.")
        if self.goal is not None:
            existing(self.goal, "a picture")
            if tuple(observes) != ("rgb",):
                raise ConfigError(
                    f"The model sees {', '.join(observes)}, and a picture gives rgb alone. Take a "
                    "goal with all of it from a dataset: --goal-data."
                )
            return Observation({"rgb": decode_rgb(self.goal.read_bytes(), str(self.goal))})
        assert self.goal_data is not None
        existing(self.goal_data, "a dataset folder")
        episode = arm.open_dataset(self.goal_data)[self.goal_episode]
        step = self.goal_step + (len(episode) if self.goal_step < 0 else 0)
        return episode.observation(step).only(tuple(observes))


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end a drive as Ctrl-C does: else the robot would keep its last command."""
    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would stop the resting action
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

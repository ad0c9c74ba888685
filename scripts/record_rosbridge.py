"""Record what `armillary ros` and a real rosbridge server say to each other in a drive.

    python scripts/record_rosbridge.py ROS_PYTHON ROSBRIDGE_SUITE [--out FILE]
    python scripts/record_rosbridge.py ROS_PYTHON ROSBRIDGE_SUITE --rests 20

Both are explained in ``scripts/rosbridge_robot.py``, which is the robot. ``armillary ros`` talks to
the server through a proxy that writes every message, with who sent it. The model is small and
untrained, and the file says how to make it again, so a test can replay the exchange from the file.

``--rests`` counts instead: so many drives, each in a process of its own, and how many of their last
resting actions arrived at the robot.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from armillary.cli.main import main as armillary
from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.config import EncoderConfig
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import save_goal_policy

ROOT = Path(__file__).parents[1]
FILE = ROOT / "tests" / "serve" / "data" / "rosbridge_exchange.jsonl"
STEPS, STEP_S, MOST_TRIES = 4, 0.5, 5
_DISCOVERY_S = (
    3.0  # until the server knows of the camera, of which it else misses the first picture
)
SERVER = "rosbridge_suite 2.1.0 on ROS 2 Kilted (ros-rclpy 9.1.2 of PyPI), robot simulated"
DRIVES: Mapping[str, Mapping[str, Any]] = {
    "twist": {
        "width": 6,
        "words": [
            *("--image", "/camera/image_raw/compressed", "--action", "/cmd_vel"),
            *("--low", "-1", "-1", "0", "0", "0", "0"),
            *("--high", "1", "1", "0", "0", "0", "0"),
        ],
    },
    "array": {
        "width": 2,
        "words": [
            *("--image", "/camera/image_raw", "--action", "/commands"),
            *("--action-type", "std_msgs/msg/Float64MultiArray"),
            *("--low", "-1", "-1", "--high", "1", "1", "--rest", "0", "0.01"),
        ],
    },
}


def small_model(out: Path, width: int) -> Path:
    """Write an untrained model of pictures of 16 px with an untrained goal policy.

    Args:
        out: folder to write.
        width: numbers of an action.
    """
    encoder = EncoderConfig(image_size=16, width=16)
    config = JEPAConfig(encoder=encoder, action_width=width, frame_skip=1, sensors=("rgb",))
    save_model(untrained(config, 0), out)
    wide = GoalPolicyConfig(config.latent_width, width, hidden=16, layers=1)
    policy = untrained_goal_policy(wide, 0)
    policy.farthest.fill_(8.0)
    save_goal_policy(policy, out)
    return out


def words_of(drive: Mapping[str, Any], address: str, folder: Path) -> list[str]:
    """Return the command line of a drive; its model and goal are written into a folder.

    Args:
        drive: a line of the file, or of ``DRIVES`` with a goal.
        address: of the server.
        folder: that is empty.
    """
    goal = folder / "goal.png"
    goal.write_bytes(base64.b64decode(drive["goal"]))
    model = small_model(folder / "model", drive["width"])
    words = ["ros", str(model), *drive["words"], "--goal", str(goal), "--planner", "direct"]
    return [*words, "--steps", str(STEPS), "--step-s", str(STEP_S), "--address", address, "--json"]


def goal_png() -> str:
    """Return the picture of a goal in base64: the disc of the robot, elsewhere."""
    rows, columns = np.mgrid[:16, :16]
    inside = (columns - 11) ** 2 + (rows - 11) ** 2 < 9
    rgb = np.where(inside[..., None], (240, 180, 60), (30, 30, 40)).astype(np.uint8)
    return base64.b64encode(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()).decode()


@contextmanager
def robot(python: str, suite: str) -> Iterator[tuple[str, list[list[float]]]]:
    """Run a robot behind rosbridge. Gives the address, and the commands that arrive."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = str(ROOT / "scripts" / "rosbridge_robot.py")
    alone = {**os.environ, "ROS_LOCALHOST_ONLY": "1", "ROS_DOMAIN_ID": str(port % 100)}
    process = subprocess.Popen(
        [python, script, suite, str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=alone,
    )
    heard: list[list[float]] = []
    ready = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            value = json.loads(line) if line.startswith("{") else {}
            if "command" in value:
                heard.append(value["command"])
            elif "ready" in value:
                ready.set()

    threading.Thread(target=listen, daemon=True).start()
    try:
        if not ready.wait(60):
            raise RuntimeError(f"The robot does not start; try: {python} {script} {suite} {port}")
        _wait_for(port)
        time.sleep(_DISCOVERY_S)
        yield f"ws://127.0.0.1:{port}", heard
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("The rosbridge server does not listen.")


@contextmanager
def proxy(address: str, lines: list[dict[str, Any]]) -> Iterator[str]:
    """Pass messages on in both directions, and note them. Gives the address of the proxy."""
    loop, place, ready = asyncio.new_event_loop(), "", threading.Event()
    stop = asyncio.Event()

    async def pass_on(source: Any, target: Any, name: str) -> None:
        try:
            async for text in source:
                lines.append({"from": name, "message": json.loads(text)})
                await target.send(text)
        except ConnectionClosed:
            pass
        await target.close()

    async def talk(client: Any) -> None:
        async with connect(address) as server:
            await asyncio.gather(
                pass_on(client, server, "client"), pass_on(server, client, "server")
            )

    async def work() -> None:
        nonlocal place
        async with serve(talk, "127.0.0.1", 0) as server:
            place = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(work(),))
    thread.start()
    try:
        ready.wait(10)
        yield place
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def in_step(lines: list[dict[str, Any]]) -> bool:
    """Tell whether every action was decided on the picture after the one before it."""
    order = [
        line["from"][0] for line in lines if line["message"]["op"] == "publish"
    ]  # s(erver's pictures) and c(lient's actions)
    return "".join(order).startswith("sc" * STEPS)


def recorded(python: str, suite: str, name: str) -> list[dict[str, Any]]:
    """Return the lines of one drive: first what it is, then every message in its order."""
    drive = {**DRIVES[name], "goal": goal_png()}
    about = {"drive": name, "server": SERVER, "client": f"roslibpy {version('roslibpy')}", **drive}
    for _ in range(MOST_TRIES):  # a busy machine may show a picture too late
        lines: list[dict[str, Any]] = []
        with (
            tempfile.TemporaryDirectory() as folder,
            robot(python, suite) as (address, _),
            proxy(address, lines) as between,
        ):
            code = armillary(words_of(drive, between, Path(folder)))
        if code == 0 and in_step(lines):
            return [about, *lines]
    raise RuntimeError("No drive was in step; the machine is too busy.")


def count_rests(python: str, suite: str, drives: int) -> None:
    """Drive many times, and print how many of the last resting actions arrived."""
    arrived = done = 0
    drive = {**DRIVES["array"], "goal": goal_png()}
    rest = [0.0, 0.01]
    for _ in range(MOST_TRIES * drives):
        # a server for each: what one drive does to it must not change the next one's result
        with tempfile.TemporaryDirectory() as folder, robot(python, suite) as (address, heard):
            command = [sys.executable, "-m", "armillary", *words_of(drive, address, Path(folder))]
            driven = subprocess.run(command, capture_output=True, text=True)
            time.sleep(0.5)
        if driven.returncode:  # no picture arrived: there was no drive, and nothing was sent
            sys.stderr.write(driven.stderr)
            continue
        done, arrived = done + 1, arrived + (bool(heard) and heard[-1] == rest)
        if done == drives:
            break
    sys.stdout.write(f"{arrived} of {done} last resting actions arrived\n")


def main() -> None:
    """Record all drives, or count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ros_python")
    parser.add_argument("rosbridge_suite")
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--rests", type=int, default=0)
    given = parser.parse_args()
    if given.rests:
        count_rests(given.ros_python, given.rosbridge_suite, given.rests)
        return
    lines = [
        line for name in DRIVES for line in recorded(given.ros_python, given.rosbridge_suite, name)
    ]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


if __name__ == "__main__":
    main()

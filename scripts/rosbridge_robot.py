"""A robot of ROS 2 with a camera, behind the real rosbridge server: what `record_rosbridge` drives.

    ROS_PYTHON scripts/rosbridge_robot.py ROSBRIDGE_SUITE PORT

ROS_PYTHON is an environment with ROS 2 from PyPI, which needs no ROS to be installed::

    pip install ros-rclpy==9.1.2 ros-rmw-fastrtps-cpp==9.3.3 ros-geometry-msgs==5.5.1
    pip install ros-sensor-msgs==5.5.1 ros-std-msgs==5.5.1 numpy pillow tornado pymongo

ROSBRIDGE_SUITE is a checkout of github.com/RobotWebTools/rosbridge_suite, at the tag 2.1.0. The
server and its library are run as they are. The list of connected clients is left out: its message
type would have to be compiled, and no client of ours reads it.

The robot is a disc on a floor, seen from above. Each command moves it, and then its camera takes a
picture. Each command is also printed, as a line of JSON.
"""

from __future__ import annotations

import io
import json
import runpy
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from PIL import Image as Pillow
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float64MultiArray

SIDE, RADIUS = 16, 3.0  # pixels
START = (0.3, 0.3)


def picture(x: float, y: float) -> np.ndarray:
    """Return what the camera sees of a disc at a place from 0 to 1: uint8 [16 16 3]."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = (columns - x * (SIDE - 1)) ** 2 + (rows - y * (SIDE - 1)) ** 2 < RADIUS**2
    return np.where(inside[..., None], (240, 180, 60), (30, 30, 40)).astype(np.uint8)


def png(rgb: np.ndarray) -> bytes:
    """Return a picture as a PNG file."""
    file = io.BytesIO()
    Pillow.fromarray(rgb).save(file, "png")
    return file.getvalue()


def say(**value: Any) -> None:
    """Print a line of JSON."""
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


class Robot:
    """The disc, its camera and its ears.

    Args:
        node: of ROS.
    """

    def __init__(self, node: Any) -> None:
        self.place, self.pictures = np.array(START), 0
        # whoever subscribes later gets the last picture: the drive begins with it
        lasting = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.packed = node.create_publisher(
            CompressedImage, "/camera/image_raw/compressed", lasting
        )
        self.raw = node.create_publisher(Image, "/camera/image_raw", lasting)
        node.create_subscription(Twist, "/cmd_vel", self.twist, 100)
        node.create_subscription(Float64MultiArray, "/commands", self.array, 100)
        self.show()

    def twist(self, message: Twist) -> None:
        """Take a command of six numbers, of which two move the disc."""
        axes = [getattr(message, part) for part in ("linear", "angular")]
        self.act([getattr(part, axis) for part in axes for axis in "xyz"])

    def array(self, message: Float64MultiArray) -> None:
        """Take a command of two numbers."""
        self.act(list(message.data))

    def act(self, command: list[float]) -> None:
        """Move for a tenth of a second, print the command, and show what is seen then."""
        self.place = np.clip(self.place + 0.1 * np.array(command[:2]), 0, 1)
        say(command=command)
        self.show()

    def show(self) -> None:
        """Publish a picture, stamped with its number."""
        rgb = picture(*self.place)
        packed, raw = CompressedImage(), Image()
        for message in (packed, raw):
            message.header.frame_id = "camera"
            message.header.stamp.sec = self.pictures
        packed.format, packed.data = "png", png(rgb)
        raw.height, raw.width, raw.step = SIDE, SIDE, 3 * SIDE
        raw.encoding, raw.data = "rgb8", rgb.tobytes()
        self.packed.publish(packed)
        self.raw.publish(raw)
        self.pictures += 1


class NoClientManager:
    """What stands in for the list of connected clients.

    Args:
        node: of the server.
    """

    def __init__(self, node: Any) -> None:
        pass

    def add_client(self, client_id: Any, ip_address: str) -> None:
        """Do nothing."""

    def remove_client(self, client_id: Any, ip_address: str) -> None:
        """Do nothing."""


def live() -> None:
    """Be a robot, in a context of its own beside the server's."""
    context = rclpy.Context()
    context.init()
    node = rclpy.create_node("robot", context=context)
    robot = Robot(node)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    say(ready=robot.pictures)
    executor.spin()


def main() -> None:
    """Start the robot and the server."""
    suite, port = Path(sys.argv[1]), sys.argv[2]
    threading.Thread(target=live, daemon=True).start()
    for part in ("rosbridge_library", "rosbridge_server"):
        sys.path.insert(0, str(suite / part / "src"))
    left_out = ModuleType("rosbridge_server.client_manager")
    # a module takes any name, which the type of modules does not say
    left_out.ClientManager = NoClientManager  # type: ignore[attr-defined]
    sys.modules[left_out.__name__] = left_out
    sys.argv = ["rosbridge_websocket", "--port", port, "--address", "127.0.0.1"]
    script = suite / "rosbridge_server" / "scripts" / "rosbridge_websocket.py"
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()

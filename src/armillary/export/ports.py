"""Ports: what goes into a graph and comes out, by name, and random numbers of that kind.

Axes: B batch, N tokens, D width of a token, M memory, A action, K robot steps of a model step,
H W image, Q proprioception, P beams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from armillary.evaluation.specs import observation_streams
from armillary.models import JEPAConfig

_ROBOT = "the robot's own, as recorded"
_NOISE_PX = 8.0


@dataclass(frozen=True)
class Port:
    """One input or output of a graph.

    Attributes:
        name: of the tensor in the ONNX file.
        shape: without the batch axis, which leads.
        dtype: by numpy's name.
        unit: of its numbers; empty where they have none.
        meaning: what it is, in one line.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    unit: str
    meaning: str

    def described(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        shape = ["batch", *self.shape]
        return {
            "name": self.name,
            "shape": shape,
            "dtype": self.dtype,
            "unit": self.unit,
            "meaning": self.meaning,
        }


def sensor_ports(config: JEPAConfig) -> tuple[Port, ...]:
    """Return what the encoder of a model is given, by the names that observations have."""
    side = config.encoder.image_size
    picture, beams = (side, side), len(config.azimuths_rad)
    known = (
        Port("rgb", (*picture, 3), "uint8", "", "picture, red first"),
        *(Port(name, (*picture, 3), "uint8", "", "picture, red first") for name in config.cameras),
        Port("depth", picture, "float32", "m", "camera z; NaN, inf and 0 are invalid"),
        Port("world_from_camera", (4, 4), "float32", "m", "pose of the camera, OpenCV axes"),
        Port("intrinsics", (3, 3), "float32", "px", "lens K of the picture at this size"),
        Port("proprio", (config.proprio_width,), "float32", _ROBOT, "the body's own numbers"),
        Port("lidar", (beams,), "float32", "m", "range of each beam; NaN where nothing returned"),
    )
    seen = observation_streams(config)
    return tuple(port for name in seen for port in known if port.name == name)


def token_port(config: JEPAConfig, name: str, meaning: str) -> Port:
    """Return tokens under a name."""
    shape = config.encoder.tokens, config.encoder.width
    return Port(name, shape, "float32", "", meaning)


def predictor_ports(config: JEPAConfig) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return what the predictor of a model is given, and what comes out."""
    given = [token_port(config, "tokens", "state now")]
    later = [token_port(config, "next_tokens", "state one model step later")]
    if config.action_width:
        shape = config.frame_skip, config.action_width // config.frame_skip
        given.append(Port("action", shape, "float32", _ROBOT, "actions of one model step"))
    if width := memory_width(config):
        given.append(Port("memory", (width,), "float32", "", "zeros at first, then next_memory"))
        later.append(Port("next_memory", (width,), "float32", "", "give it to the next step"))
    return tuple(given), tuple(later)


def memory_width(config: JEPAConfig) -> int:
    """Return M, the width of the predictor's flattened memory; 0 for none."""
    places = config.encoder.tokens if config.predictor.depth else 1
    return places * config.predictor.memory


def policy_ports(config: JEPAConfig) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return what the goal policy of a model is given, and what comes out."""
    shape = config.frame_skip, config.action_width // config.frame_skip
    given = (
        token_port(config, "tokens", "state now"),
        token_port(config, "goal_tokens", "state to reach: the goal's observation, encoded"),
        Port("steps_left", (), "float32", "model steps", "until the deadline, at least 1"),
    )
    chunk = Port("action_chunk", shape, "float32", _ROBOT, "next actions, not clipped to limits")
    return given, (chunk,)


def random_values(
    ports: Sequence[Port], count: int, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Return values that a graph may be given, a batch of each.

    Args:
        ports: the inputs.
        count: B.
        rng: chance.
    """
    return tuple(_random(port, count, rng).astype(port.dtype) for port in ports)


def _random(port: Port, count: int, rng: np.random.Generator) -> np.ndarray:
    shape = count, *port.shape
    if port.dtype == "uint8":
        return rng.integers(0, 256, shape)
    if port.name in ("depth", "lidar"):
        return np.where(rng.random(shape) < 0.1, np.nan, rng.uniform(0.2, 3.0, shape))
    if port.name == "steps_left":
        return rng.uniform(1.0, 60.0, shape)
    if port.name == "world_from_camera":
        return _poses(count, rng)
    if port.name == "intrinsics":
        return np.diag([64.0, 64.0, 1.0]) + _lens_noise(count, rng)
    if port.name == "memory":
        return rng.uniform(-1.0, 1.0, shape)
    return rng.normal(size=shape)


def _poses(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return rigid transforms [B 4 4]."""
    turned, _ = np.linalg.qr(rng.normal(size=(count, 3, 3)))
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = turned * np.linalg.det(turned)[:, None, None]
    poses[:, :3, 3] = rng.normal(size=(count, 3))
    return poses


def _lens_noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return what lenses differ by [B 3 3]: focal lengths, and a middle of the picture."""
    noise = np.zeros((count, 3, 3))
    noise[:, [0, 1], [0, 1]] = rng.uniform(-_NOISE_PX, _NOISE_PX, (count, 2))
    noise[:, :2, 2] = 32.0 + rng.uniform(-_NOISE_PX, _NOISE_PX, (count, 2))
    return noise


def described(given: Sequence[Port], later: Sequence[Port], file: str) -> Mapping[str, Any]:
    """Return a graph as the manifest has it."""
    return {
        "file": file,
        "inputs": [port.described() for port in given],
        "outputs": [port.described() for port in later],
    }

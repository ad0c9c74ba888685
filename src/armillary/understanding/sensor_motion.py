"""Sensor motion: where a sensor will be some model steps ahead, from what is known at the present.

The motion of one model step is read by ridge from the actions in it, from the motion of the step
before, or from both; which serves best is found on held-out training steps. Motions of several
steps are composed on SE(3). Where the action is the recorded motion of the sensor, the later pose
is known this way; after commands it is a guess, and without actions the motion goes on as it was.

The latent is not asked. How sure: on a real laser and a real depth camera whose action is their
motion, the actions alone tell it to a millimetre; on a log of commands it was not tried.

Axes: F model steps, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from armillary.spatial import exp, log
from armillary.understanding.chosen_ridge import ChosenRidge, Form, choose_ridge
from armillary.understanding.distance_sensors import DistanceSensor
from armillary.understanding.prediction_error import validation_groups
from armillary.understanding.stretches import Steps

# What a motion may be read from, and how; without actions it goes on as it was, or nearly.
_READ: Mapping[str, tuple[Form, ...]] = {
    "actions": ("direct",),
    "past": ("direct", "change"),
    "both": ("direct",),
}


@dataclass(frozen=True)
class SensorMotion:
    """A fitted reading of the motion in one model step.

    Attributes:
        sensor: the sensor.
        reader: from the actions or the motion of the step before, or both, to a twist.
    """

    sensor: DistanceSensor
    reader: ChosenRidge

    @classmethod
    def fit(cls, sensor: DistanceSensor, steps: Steps) -> SensorMotion:
        """Fit on training steps.

        Args:
            sensor: the sensor, with poses.
            steps: of training episodes.

        Raises:
            DatasetError: they are of one group.
        """
        twists = _twists(sensor, steps)
        now = np.flatnonzero((steps.before >= 1) & (steps.after >= 1))
        inputs = _inputs(steps.actions[now], twists[now - 1])
        forms = {name: some for name, some in _READ.items() if inputs[name].shape[1]}
        held = validation_groups(steps.groups[now])
        return cls(sensor, choose_ridge(forms, inputs, twists[now - 1], twists[now], held))

    def later_from_now(
        self, steps: Steps, now: Int[np.ndarray, " W"], ahead: int
    ) -> Float[np.ndarray, "W 4 4"]:
        """Return what takes points from the sensor's present frame to that expected later.

        Args:
            steps: what was seen; the step before ``now`` must be in it.
            now: the present of each window.
            ahead: model steps.
        """
        twist = _twists(self.sensor, steps)[now - 1]
        now_from_later = torch.eye(4, dtype=torch.float64).expand(len(now), 4, 4)
        for step in range(ahead):
            twist = self.reader.predict(_inputs(steps.actions[now + step], twist), twist)
            now_from_later = now_from_later @ exp(torch.from_numpy(twist))
        return torch.linalg.inv(now_from_later).numpy()


def _twists(sensor: DistanceSensor, steps: Steps) -> Float[np.ndarray, "F 6"]:
    """Return the motion from each step to the next, in the sensor's frame; zero at an end."""
    moved = np.zeros((len(steps.frames), 6))
    motion = sensor.relative(steps.frames[:-1], steps.frames[1:])
    moved[:-1] = log(torch.from_numpy(motion)).numpy()
    moved[steps.after == 0] = 0
    return moved


def _inputs(actions: np.ndarray, past: np.ndarray) -> dict[str, np.ndarray]:
    return {"actions": actions, "past": past, "both": np.concatenate([actions, past], axis=1)}

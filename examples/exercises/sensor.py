"""Exercise 2, a sensor: a speedometer on the puck. Any vector is of the kind ``proprio``.

Its line in ``WORLDS`` (``worlds/registry.py``):

    "puck_with_speed": PuckWithSpeed,

A model sees it with ``train world --model.sensors rgb proprio``.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

# the file of exercise 1, which lies beside this one and in no package
_SPEC = importlib.util.spec_from_file_location("puck", Path(__file__).with_name("world.py"))
assert _SPEC is not None and _SPEC.loader is not None
_world: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_world)


class PuckWithSpeed(_world.Puck):
    """The puck, which also reports its velocity [2] in metres per second."""

    def __init__(self, image_size: int = 64, sensors: tuple[str, ...] = ("rgb", "proprio")) -> None:
        super().__init__(image_size)
        self.spec = replace(
            self.spec,
            name="puck_with_speed",
            sensors={"rgb": "rgb", "proprio": "proprio"},
            units={**self.spec.units, "proprio": ("m/s", "world")},
        )

    def _streams(self, picture: np.ndarray) -> dict[str, Any]:
        return {"rgb": picture, "proprio": self._mps.astype(np.float32)}

"""Policy of a judge: what a model says of a clip is its surprise, one number a clip.

It keeps nothing from one clip to the next: what it says of a clip depends on that clip alone.

Axes: T steps of a clip, Z flattened latent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from armillary.core.errors import ShapeError
from armillary.core.values import Observation, WorldSpec
from armillary.evaluation.carry import Decision
from armillary.models import JEPA, load_model
from armillary.objectives.whitening import Whitening
from armillary.proof.quadruplets.normal_file import NORMAL_FILE, read_normal
from armillary.proof.quadruplets.world import MOST, SIDE, clip_of
from armillary.understanding.suites.quadruplets.expectation import errors, look, squared_error
from armillary.worlds.stage.crossing import STEPS

MODEL_STEPS = STEPS - 1  # predictor steps of one clip
# A surprise of 0 would say nothing, and the change of the pixels would stand in its place.
_LEAST = 1e-9


@dataclass(frozen=True)
class SurpriseState:
    """Which clip comes next.

    Attributes:
        step: of it.
        decision: the last one, for the record.
    """

    step: int
    decision: Decision | None = None


@dataclass(frozen=True)
class SurprisePolicy:
    """A model as a judge of clips.

    Attributes:
        model: of pictures.
        normal: its errors in possible clips.
    """

    model: JEPA
    normal: Whitening

    @property
    def observes(self) -> tuple[str, ...]:
        """The clip, and how the camera moves in it."""
        return ("film", "pans")

    @property
    def decides_every(self) -> int:
        """Steps from one decision to the next."""
        return 1

    def init(self, goal: Observation, seed: int) -> SurpriseState:
        """Return the state before the first clip; neither goal nor chance matters."""
        return SurpriseState(0)

    def act(
        self, observation: Observation, state: SurpriseState
    ) -> tuple[Float64[np.ndarray, " A"], SurpriseState]:
        """Return the surprise of a clip.

        Raises:
            ShapeError: as ``surprise_at``.
        """
        said, decision = self.judge(observation, state.step)
        return said, SurpriseState(state.step + 1, decision)

    def judge(self, seen: Observation, step: int) -> tuple[Float64[np.ndarray, " A"], Decision]:
        """Return what is said of a clip: the mean surprise over its steps.

        Args:
            seen: the clip.
            step: which of the episode's it is.

        Raises:
            ShapeError: as ``surprise_at``.
        """
        values = self.surprise_at(seen)
        mean = math.fsum(map(float, values)) / len(values)
        said = min(max(mean, _LEAST), MOST)
        return np.array([said]), Decision(step, MODEL_STEPS, None, {})

    def surprise_at(self, seen: Observation) -> Float[np.ndarray, " steps"]:
        """Return the surprise at steps 1 to T-1 of a clip, float32.

        Raises:
            ShapeError: it is not a number.
        """
        frames, pans = clip_of(seen.streams["film"]), seen.streams["pans"].reshape(-1, 2)
        values = squared_error(errors(self.model, look(self.model, frames[None], pans[None])),
                               self.normal)[0]  # fmt: skip
        if not np.isfinite(values).all():
            raise ShapeError("The model's surprise is not finite; check its weights.")
        return values


@dataclass(frozen=True)
class SurpriseSpec:
    """The policy of a folder that holds a model and ``surprise/normal.safetensors``.

    Attributes:
        folder: of both.
    """

    folder: Path

    def __call__(self, world: WorldSpec) -> SurprisePolicy:
        """Return the policy, with the model loaded.

        Raises:
            CheckpointError: the folder is not complete.
            ShapeError: the model sees something else than clips.
        """
        model = load_model(Path(self.folder))
        check_judge(model)
        width = model.config.latent_width
        return SurprisePolicy(model, read_normal(Path(self.folder) / NORMAL_FILE, width))

    def identity(self) -> str:
        """Return its name."""
        return "surprise"


def check_judge(model: JEPA) -> None:
    """Check that a model sees what clips of quadruplets show.

    Raises:
        ShapeError: it does not.
    """
    config = model.config
    sees = tuple(config.sensors) == ("rgb",) and config.encoder.image_size == SIDE
    if not sees or config.action_width not in (0, 2) or config.frame_skip != 1:
        raise ShapeError(
            f"The clips of quadruplets have pictures of {SIDE}x{SIDE} pixels and moves of 2 "
            f"numbers; the model sees {', '.join(config.sensors)} of {config.encoder.image_size} "
            f"pixels, and takes {config.action_width} numbers and a frame skip of "
            f"{config.frame_skip}. Train one on the world stage."
        )

"""Guard file: a guard as plain JSON, and the spec that puts a policy under it. It holds no code.

Arrays are float64, little endian, in base64: what is read back is what was written, to the bit.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError, FormatError
from armillary.core.files import read_json, write_json
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.values import WorldSpec
from armillary.evaluation.goal_conditioned_policy import GoalConditionedPolicy
from armillary.evaluation.model_policy import ModelPolicy
from armillary.evaluation.specs import PolicyFactory, identity_of
from armillary.monitoring.guard import QUESTIONS, Guard, GuardedPolicy, Normal, Reaction
from armillary.monitoring.watching import Watcher
from armillary.objectives.expected_error import ExpectedError
from armillary.objectives.scaler import Scaler
from armillary.objectives.whitening import Whitening

FORMAT = "armillary.guard/3"
_MAX_WIDTH = 1 << 16


def save_guard(guard: Guard, path: Path) -> None:
    """Write a guard, in one step.

    Raises:
        StorageError: the disk is full or not writable.
    """
    normal = guard.normal
    value = {
        "format": FORMAT,
        "policy": guard.policy,
        "episodes": guard.episodes,
        "false_alarms": guard.false_alarms,
        "history": guard.history,
        "limits": dict(guard.limits),
        "residuals": _scale(normal.scene),
        "changes": _scale(normal.change),
        "scene": _part(normal.scene, normal.scene_error),
        "change": _packed(_rotation(normal.change)),
        "motion": _part(normal.motion, normal.motion_error),
    }
    write_json(path, value)


def load_guard(path: Path) -> Guard:
    """Read a guard.

    Raises:
        FormatError: not a guard of this format, or its numbers do not fit together.
    """
    value = read_json(path)
    try:
        if value["format"] != FORMAT:
            raise ValueError("another format")
        guard = Guard(
            _normal(value),
            {name: _number(value["limits"][name]) for name in QUESTIONS},
            int(value["history"]),
            str(value["policy"]),
            int(value["episodes"]),
            _number(value["false_alarms"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error) as error:
        raise FormatError(
            f"{path}: not a guard of format {FORMAT} ({error}). Calibrate one with: "
            "armillary guard MODEL WORLD"
        ) from error
    return guard


@dataclass(frozen=True)
class GuardedSpec:
    """A model's policy under the guard of a file.

    Attributes:
        base: makes the policy.
        guard: the file.
        reaction: as in ``GuardedPolicy``.
        slow_factor: as in ``GuardedPolicy``.
    """

    base: PolicyFactory
    guard: Path
    reaction: Reaction = "stop"
    slow_factor: float = 0.25

    def __call__(self, world: WorldSpec) -> GuardedPolicy:
        """Return the policy under guard.

        Raises:
            FormatError: the file is not a guard.
            ConfigError: it was calibrated for another policy, or this one has no world model.
        """
        guard, policy = load_guard(self.guard), self.base(world)
        if not isinstance(policy, ModelPolicy | GoalConditionedPolicy):
            raise ConfigError("A guard needs a policy that has a world model.")
        if guard.policy != identity_of(self.base):
            raise ConfigError(
                f"{self.guard}: was calibrated for another policy (model, planner or settings). "
                "Calibrate again with: armillary guard MODEL WORLD"
            )
        watcher = watcher_of(policy, guard.history)
        return GuardedPolicy(policy, watcher, guard, self.reaction, self.slow_factor)

    def identity(self) -> str:
        """Return the policy's name, and a hash of the guard and what it does."""
        settings = [file_sha256(self.guard), self.reaction, self.slow_factor]
        return f"{identity_of(self.base)} guarded {json_sha256(settings)}"


def watcher_of(policy: ModelPolicy | GoalConditionedPolicy, history: int) -> Watcher:
    """Return the watcher that sees with the eyes of a policy's own model."""
    return Watcher(
        policy.model,
        policy.bounds,
        policy.observes,
        history,
        policy.frame_skip,
        policy.image_size,
    )


def _scale(whitening: Whitening) -> dict[str, Any]:
    scaler = whitening.scaler
    return {
        "mean": _packed(scaler.mean),
        "spread": _packed(scaler.spread),
        "kept": scaler.kept.astype(int).tolist(),
        "shrinkage": whitening.shrinkage,
    }


def _part(whitening: Whitening, error: ExpectedError) -> dict[str, Any]:
    rotation = _packed(_rotation(whitening))
    return {"rotation": rotation, "scale": error.scale, "slope": error.slope}


def _rotation(whitening: Whitening) -> np.ndarray:
    assert whitening.rotation is not None  # ``towards`` always turns
    return whitening.rotation


def _normal(value: Mapping[str, Any]) -> Normal:
    residuals, changes = (_scaler(value[name]) for name in ("residuals", "changes"))
    scene, motion = (_turned(value[name]["rotation"], *residuals) for name in ("scene", "motion"))
    change = _turned(value["change"], *changes)
    errors = []
    for part in (value["scene"], value["motion"]):
        scale, slope = _number(part["scale"]), _number(part["slope"])
        if not (scale > 0 and slope >= 0):
            raise ValueError("an expected error is not above 0")
        errors.append(ExpectedError(motion, scale, slope))
    return Normal(scene, errors[0], change, motion, errors[1])


def _scaler(value: Mapping[str, Any]) -> tuple[Scaler, float]:
    kept = np.array(value["kept"], dtype=bool)
    if kept.ndim != 1 or not 0 < len(kept) <= _MAX_WIDTH:
        raise ValueError("the latent has no or too many numbers")
    mean, spread = (_unpacked(value[name], kept.shape) for name in ("mean", "spread"))
    if not (spread[kept] > 0).all():
        raise ValueError("a spread is not above 0")
    return Scaler(mean, spread, kept), _number(value["shrinkage"])


def _turned(rotation: Mapping[str, Any], scaler: Scaler, shrinkage: float) -> Whitening:
    return Whitening(scaler, _unpacked(rotation, (int(scaler.kept.sum()), None)), shrinkage)


def _packed(values: np.ndarray) -> dict[str, Any]:
    raw = np.ascontiguousarray(values, "<f8").tobytes()
    return {"shape": list(values.shape), "float64": base64.b64encode(raw).decode()}


def _unpacked(packed: Mapping[str, Any], shape: tuple[int | None, ...]) -> np.ndarray:
    raw = base64.b64decode(packed["float64"], validate=True)
    values = np.frombuffer(raw, "<f8").astype(np.float64)
    values = values.reshape([int(size) for size in packed["shape"]])
    fits = len(shape) == values.ndim and all(
        want in (None, size) for want, size in zip(shape, values.shape, strict=True)
    )
    if not fits or not values.size or not np.isfinite(values).all():
        raise ValueError(f"an array of shape {values.shape} has no place, or is not finite")
    return values


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number

"""Messages: what grader and policy say to each other, and the checks of what was said.

grader -> policy: ``setup`` once, then ``begin`` per episode and ``see`` per step.
policy -> grader: ``ready``, ``begun``, ``acted``; ``failed`` with a sentence in place of any.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from armillary.core.errors import FormatError
from armillary.core.values import Observation
from armillary.evaluation.carry import Decision
from armillary.proof.wire import Message

MAX_SENTENCE = 500
_CARRIED = ("kept", "mean")
_MAX_COUNT = 1 << 53


def begin(goal: Observation, seed: int) -> Message:
    """Return the start of an episode: its goal and the policy's seed, and nothing else."""
    return Message("begin", {"seed": seed}, goal.streams)


def see(observation: Observation) -> Message:
    """Return what is seen at one step."""
    return Message("see", {}, observation.streams)


def failed(error: BaseException) -> Message:
    """Return what went wrong, as a sentence."""
    return Message("failed", {"sentence": f"{type(error).__name__}: {error}"[:MAX_SENTENCE]})


def acted(action: np.ndarray, looks: bool, decision: Decision | None) -> Message:
    """Return an action, whether the next observation will be read, and a new decision if any."""
    arrays = {"action": action}
    said: dict[str, Any] | None = None
    if decision is not None:
        said = {
            "step": decision.step,
            "model_steps": decision.model_steps,
            "cost": decision.cost,
            "carry": sorted(decision.carry),
        }
        arrays |= {f"carry {name}": _array(packed) for name, packed in decision.carry.items()}
    return Message("acted", {"looks": looks, "decision": said}, arrays)


def action_of(message: Message) -> np.ndarray:
    """Return the action that was sent; the harness checks its width and bounds.

    Raises:
        FormatError: there is none.
    """
    if "action" not in message.arrays:
        raise FormatError("A policy's answer has no action.")
    return message.arrays["action"]


def decision_of(message: Message, step: int) -> Decision | None:
    """Return the decision that came with an action, None where none was made.

    Args:
        message: an ``acted``.
        step: the world step that it answers; a decision is made then or not at all.

    Raises:
        FormatError: not a decision of this step.
    """
    said = message.fields.get("decision")
    if said is None:
        return None
    if not isinstance(said, Mapping) or said.get("step") != step:
        raise FormatError(f"A policy's decision is one of step {step}; something else came.")
    cost, names = said.get("cost"), words(said, "carry")
    if not (cost is None or (isinstance(cost, float) and math.isfinite(cost))):
        raise FormatError("A decision's cost is a finite number or null.")
    if names not in ((), _CARRIED):
        raise FormatError(f"A decision carries {' and '.join(_CARRIED)}, or nothing.")
    carry = {name: _packed(message, name) for name in names}
    return Decision(step, whole(said, "model_steps"), cost, carry)


def whole(fields: Mapping[str, Any], name: str) -> int:
    """Return a count.

    Raises:
        FormatError: missing, not a whole number, or outside 0 to 2^53.
    """
    value = fields.get(name)
    if type(value) is not int or not 0 <= value < _MAX_COUNT:
        raise FormatError(f"{name} is a whole number from 0 to 2^53; something else came.")
    return value


def truth(fields: Mapping[str, Any], name: str) -> bool:
    """Return a yes or no.

    Raises:
        FormatError: something else.
    """
    value = fields.get(name)
    if not isinstance(value, bool):
        raise FormatError(f"{name} is true or false; something else came.")
    return value


def words(fields: Mapping[str, Any], name: str, most: int = 16) -> tuple[str, ...]:
    """Return a short list of words.

    Raises:
        FormatError: something else.
    """
    value = fields.get(name)
    listed = isinstance(value, list) and len(value) <= most
    if not listed or not all(isinstance(one, str) and len(one) <= 64 for one in value):
        raise FormatError(f"{name} is a list of at most {most} words; something else came.")
    return tuple(value)


def sentence(fields: Mapping[str, Any]) -> str:
    """Return what a ``failed`` says, made safe to print and to write down."""
    said = fields.get("sentence")
    if not isinstance(said, str) or not said:
        return "no reason was given"
    return "".join(one if one.isprintable() else " " for one in said[:MAX_SENTENCE])


def _array(packed: Mapping[str, Any]) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(packed["float32"]), "<f4")
    return values.reshape(packed["shape"])


def _packed(message: Message, name: str) -> dict[str, Any]:
    values = message.arrays.get(f"carry {name}")
    if values is None or values.dtype != np.float32:
        raise FormatError(f"A decision's {name} is an array of float32; it did not come.")
    raw = values.astype("<f4").tobytes()
    return {"shape": list(values.shape), "float32": base64.b64encode(raw).decode()}

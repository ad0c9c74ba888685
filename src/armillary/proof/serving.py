"""Serving: load a policy, lock the process, then answer the grader until it is gone.

The policy knows bounds, a deadline, goals, observations and a seed. No name of a world, a task or
an episode ever comes here, so none can be acted on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from armillary.core.errors import FormatError, unknown_name
from armillary.core.protocols import GlancingPolicy, Policy
from armillary.core.values import ActionBounds, Observation, WorldSpec
from armillary.evaluation import ModelSpec, NoOpSpec, RandomSpec
from armillary.planning import Planning
from armillary.proof import messages
from armillary.proof.lockdown import Limits, enforced, lock
from armillary.proof.quadruplets.policy import SurpriseSpec
from armillary.proof.quadruplets.world import SIDE
from armillary.proof.wire import ClosedError, Message, encode, read_message
from armillary.worlds.stage.crossing import STEPS

# The grader is trusted; this only keeps a mistake from growing.
_MOST_BYTES = 1 << 30
_WARM_SIDE = 64

# Makes a policy from the grader's first message.
OpenPolicy = Callable[[Message], Policy]


def serve(open_policy: OpenPolicy) -> int:
    """Answer on standard output what comes on standard input; return the exit code.

    Call ``lockdown.isolate`` before.

    Args:
        open_policy: makes the policy; it may read files. Afterwards nothing may.
    """
    pipe = _Pipe()
    try:
        setup = pipe.receive()
        policy, limits = _opened(open_policy, setup)
        pipe.send(_ready(policy, enforced(limits)))
        _answer(pipe, policy)
    except ClosedError:
        return 0
    except Exception as error:  # the grader gets a sentence, whatever it was
        pipe.send(messages.failed(error))
        return 1
    return 0


def named_policy(setup: Message, folder: str) -> Policy:
    """Return one of the policies that may be named, on the bounds and the deadline that were given.

    Raises:
        ConfigError: an unknown policy or setting.
        CheckpointError: the folder is not a model.
        FormatError: bounds, budget or settings are missing.
    """
    name, settings = setup.fields.get("policy"), setup.fields.get("settings")
    if name not in _POLICIES:
        raise unknown_name("policy", str(name), _POLICIES)
    if not isinstance(settings, Mapping):
        raise FormatError("A policy's settings are an object; something else came.")
    return _POLICIES[name](Path(folder), settings)(_nameless_world(setup))


def bounds_of(setup: Message) -> ActionBounds:
    """Return the box of actions.

    Raises:
        FormatError: it is missing.
    """
    low, high = setup.arrays.get("low"), setup.arrays.get("high")
    if low is None or high is None or low.shape != high.shape or low.ndim != 1:
        raise FormatError("The bounds of actions are two arrays of one width; they did not come.")
    return ActionBounds(low.astype(np.float64), high.astype(np.float64))


class _Pipe:
    """Standard input and output, taken away from everybody else in this process."""

    def __init__(self) -> None:
        self._in, self._out = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDWR)
        # What a library prints must not get between the messages.
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        os.close(nothing)

    def receive(self) -> Message:
        return read_message(lambda count: os.read(self._in, count), _MOST_BYTES)

    def send(self, message: Message) -> None:
        left = memoryview(encode(message))
        with suppress(BrokenPipeError):  # the grader is gone; the next read says so
            while left:
                left = left[os.write(self._out, left) :]


def _opened(open_policy: OpenPolicy, setup: Message) -> tuple[Policy, Limits]:
    torch.set_num_threads(1)
    limits = Limits(**setup.fields.get("limits", {}))
    policy = open_policy(setup)
    with suppress(Exception):  # only so that what is loaded late is loaded now
        _warm_up(policy)
    lock(limits)
    return policy, limits


def _ready(policy: Policy, names: tuple[str, ...]) -> Message:
    return Message("ready", {"observes": list(policy.observes), "enforced": list(names)})


def _answer(pipe: _Pipe, policy: Policy) -> None:
    state, started = None, False
    while True:
        asked = pipe.receive()
        seen = Observation(asked.arrays)
        try:
            if asked.kind == "begin":
                state, started = policy.init(seen, messages.whole(asked.fields, "seed")), True
                answer = Message("begun", {"looks": _looks(policy, state)})
            elif asked.kind == "see" and started:
                action, state = policy.act(seen, state)
                answer = _acted(policy, action, state)
            else:
                raise FormatError(f"A policy process was sent {asked.kind!r} out of turn.")
        except Exception as error:  # it costs this episode; the grader decides what is next
            answer = messages.failed(error)
        pipe.send(answer)


def _acted(policy: Policy, action: Any, state: Any) -> Message:
    decision = getattr(state, "decision", None)
    # A state is one step ahead of the action that it came with.
    step = getattr(state, "step", None)
    new = decision is not None and step is not None and decision.step == step - 1
    return messages.acted(np.asarray(action), _looks(policy, state), decision if new else None)


def _looks(policy: Policy, state: Any) -> bool:
    return not isinstance(policy, GlancingPolicy) or bool(policy.looks(state))


def _nameless_world(setup: Message) -> WorldSpec:
    budget = messages.whole(setup.fields, "budget")
    return WorldSpec("", bounds_of(setup), 0.0, (), budget, 0.0, "", {})


def _warm_up(policy: Policy) -> None:
    """Act once on a made-up scene: what is imported or read at first use is, before the lock."""
    model = getattr(policy, "model", None)
    width = getattr(getattr(model, "config", None), "proprio_width", 0)
    streams = {
        "rgb": np.zeros((_WARM_SIDE, _WARM_SIDE, 3), np.uint8),
        "depth": np.ones((_WARM_SIDE, _WARM_SIDE), np.float32),
        "world_from_camera": np.eye(4),
        "intrinsics": np.array([[50.0, 0, 31.5], [0, 50.0, 31.5], [0, 0, 1]]),
        "proprio": np.zeros(width, np.float32),
        "film": np.zeros((STEPS * SIDE, SIDE, 3), np.uint8),
        "pans": np.zeros(2 * (STEPS - 1), np.float32),
    }
    seen = Observation(streams).only(policy.observes)
    policy.act(seen, policy.init(seen, 0))


def _model(folder: Path, settings: Mapping[str, Any]) -> ModelSpec:
    planning: dict[str, Any] = {**settings["planning"]}
    planning["settings"] = _as_tuples(planning["settings"])
    return ModelSpec(folder, Planning(**planning), settings["budget_model_steps"])


def _as_tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    # JSON has lists where settings have tuples.
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
    }


_POLICIES: dict[str, Callable[[Path, Mapping[str, Any]], Callable[[WorldSpec], Policy]]] = {
    "random": lambda folder, settings: RandomSpec(),
    "noop": lambda folder, settings: NoOpSpec(),
    "model": _model,
    "surprise": lambda folder, settings: SurpriseSpec(folder),
}

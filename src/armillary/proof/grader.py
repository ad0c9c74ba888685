"""Grader: the near side of the boundary: a policy whose every answer comes from another process.

It plugs into ``evaluation.evaluate`` as any policy does. What breaks over there costs the episode
in which it broke: the next one gets a fresh process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError, FormatError
from armillary.core.values import Observation, WorldSpec
from armillary.evaluation import ModelSpec, NoOpSpec, RandomSpec
from armillary.evaluation.carry import Decision
from armillary.evaluation.episode import check_actor
from armillary.proof import messages
from armillary.proof.agent import Agent
from armillary.proof.lockdown import Limits
from armillary.proof.quadruplets.policy import SurpriseSpec
from armillary.proof.sandbox import (
    PolicyProcessError,
    Sandbox,
    boundary_label,
    python_command,
    system_label,
)
from armillary.proof.wire import Message

_POLICY_NAMES = {
    ModelSpec: "model",
    SurpriseSpec: "surprise",
    RandomSpec: "random",
    NoOpSpec: "noop",
}
_NOTHING = Observation({})


@dataclass(frozen=True)
class RemoteState:
    """What the grader knows of a policy in the middle of an episode.

    Attributes:
        episode: counts the episodes of this policy; never sent.
        step: of the next action.
        looks: whether the next observation will be read.
        decision: the last decision, for the record.
    """

    episode: int
    step: int
    looks: bool
    decision: Decision | None = None


class RemotePolicy:
    """A policy in a process of its own. It plays one episode at a time, step after step.

    Args:
        start: starts a process that is locked and ready.
        limits: of its answers.

    Raises:
        PolicyProcessError: the first process did not get ready.
    """

    def __init__(self, start: Callable[[], Sandbox], limits: Limits) -> None:
        self._start, self._limits = start, limits
        self._sandbox: Sandbox | None = start()
        self._observes, self.label = self._sandbox.observes, self._sandbox.label
        self._now = RemoteState(0, 0, False)

    @property
    def observes(self) -> tuple[str, ...]:
        """Return the allow-list: what it asked to see; nothing else is ever sent."""
        return self._observes

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        return None if self._sandbox is None else self._sandbox.pid

    def looks(self, state: RemoteState) -> bool:
        """Tell whether it will read the next observation."""
        return state.looks

    def init(self, goal: Observation, seed: int) -> RemoteState:
        """Begin an episode, in a fresh process where the last one broke.

        Raises:
            PolicyProcessError: no process got ready, or it did not answer.
        """
        if self._sandbox is None:
            self._sandbox = self._start()
        said = self._ask(messages.begin(goal.only(self._observes), seed), "begun")
        with_looks = self._checked(lambda: messages.truth(said.fields, "looks"))
        self._now = RemoteState(self._now.episode + 1, 0, with_looks)
        return self._now

    def act(self, observation: Observation, state: RemoteState) -> tuple[np.ndarray, RemoteState]:
        """Return what the process answers.

        Raises:
            ConfigError: this state is not the one that came last.
            PolicyProcessError: the process did not answer as it should; it is gone now.
        """
        if self._sandbox is None or state is not self._now:
            raise ConfigError(
                "A policy in another process plays one episode at a time, step after step; "
                "use batch 1, and a policy of its own for each worker."
            )
        # Who does not look is sent nothing, whether or not the world took a picture.
        seen = observation.only(self._observes) if state.looks else _NOTHING
        said = self._ask(messages.see(seen), "acted")
        action, looks, decision = self._checked(lambda: _answer_of(said, state.step))
        self._now = replace(
            state, step=state.step + 1, looks=looks, decision=decision or state.decision
        )
        return action, self._now

    def close(self) -> None:
        """End the process."""
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def _ask(self, message: Message, answer: str) -> Message:
        assert self._sandbox is not None
        try:
            return self._sandbox.ask(message, answer, self._limits.decision_s)
        except PolicyProcessError:
            self.close()
            raise

    def _checked(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except FormatError as error:
            self.close()
            raise PolicyProcessError(f"The policy process did not answer: {error}") from error


def _answer_of(said: Message, step: int) -> tuple[np.ndarray, bool, Decision | None]:
    looks = messages.truth(said.fields, "looks")
    return messages.action_of(said), looks, messages.decision_of(said, step)


@dataclass(frozen=True)
class RemoteSpec:
    """A ``RemotePolicy``: another spec's policy, behind the boundary.

    Attributes:
        local: whose policy it is; its records in this process are the same.
        limits: of time, memory and messages.
        command: what to start in place of this package's policy process. It locks itself or not:
            its label is then only what it says. For tests of the boundary.
        before: called before every start of a process; raises where none may start.
    """

    local: ModelSpec | SurpriseSpec | RandomSpec | NoOpSpec
    limits: Limits = field(default_factory=Limits)
    command: tuple[str, ...] | None = None
    before: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if getattr(self.local, "batch", 1) != 1:
            raise ConfigError(
                "A policy in another process decides for one episode at a time; use batch 1."
            )

    def __call__(self, world: WorldSpec) -> RemotePolicy:
        """Return the policy, with its process started, loaded and locked.

        Raises:
            ConfigError: it asks to see what this world does not give.
            PolicyProcessError: it did not get ready, or is locked less well than this system can.
        """
        policy = RemotePolicy(lambda: self._started(world), self.limits)
        try:
            check_actor(policy, world)
        except ConfigError:
            policy.close()
            raise
        return policy

    def identity(self) -> str:
        """Return the local name, and what this system really keeps the policy from."""
        who = "" if self.command is None else " by another command"
        return f"{self.local.identity()} behind a boundary{who} ({boundary_label(system_label())})"

    def _started(self, world: WorldSpec) -> Sandbox:
        if self.before is not None:
            self.before()
        sandbox = Sandbox(self._setup(world), self.limits, self.command or self._own_command())
        missing = [name for name in system_label() if name not in sandbox.enforced]
        if missing:
            sandbox.close()
            raise PolicyProcessError(
                f"The policy process is not kept from {', '.join(missing)}, which this system "
                "can do; its records would carry a label that does not hold."
            )
        return sandbox

    def _own_command(self) -> tuple[str, ...]:
        folder = getattr(self.local, "folder", None)
        folder = "" if folder is None else Path(folder).resolve()
        return python_command("armillary.proof.policy_process", str(folder))

    def _setup(self, world: WorldSpec) -> Message:
        settings = asdict(self.local)
        settings.pop("folder", None)
        name = _POLICY_NAMES[type(self.local)]
        fields = {"policy": name, "settings": settings, "budget": world.budget}
        arrays = {"low": np.asarray(world.bounds.low), "high": np.asarray(world.bounds.high)}
        return Message("setup", fields, arrays)


@dataclass(frozen=True)
class Enclosed:
    """An agent whose policy runs in a process of its own, without files and network.

    Attributes:
        agent: as it acts in the task; its folder is looked at again before every start.
    """

    agent: Agent

    def __call__(self, world: WorldSpec) -> RemotePolicy:
        """Return the policy, its process started, loaded and locked.

        Raises:
            ArmillaryError: as ``Agent`` and ``RemoteSpec``.
        """
        return RemoteSpec(self.agent.spec, before=self.agent.check_unchanged)(world)

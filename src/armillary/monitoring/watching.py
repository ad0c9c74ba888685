"""Watching: at every model step, what came beside what was foreseen one step ago.

Beside the step that was foreseen under the action sent stands the step that was foreseen had
nothing been sent: an actuator that ignores its orders makes the second come true.

Axes: B = 1, N tokens, D latent width, X = N * D, A action width, F model steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from armillary.core.errors import ConfigError
from armillary.core.protocols import WorldModel
from armillary.core.values import ActionBounds, Latent, Observation
from armillary.evaluation.seeing import encode_observation


@dataclass(frozen=True)
class Differences:
    """Differences of latents at model steps in a row.

    Attributes:
        residual: what came minus what was foreseen.
        idle: what came minus what was foreseen had nothing been done.
        foreseen: what was foreseen minus what was.
        change: what came minus what was.
        picture: mean absolute change of RGB, 0 to 1; zeros without ``rgb``.
    """

    residual: Float32[np.ndarray, "F X"]
    idle: Float32[np.ndarray, "F X"]
    foreseen: Float32[np.ndarray, "F X"]
    change: Float32[np.ndarray, "F X"]
    picture: Float64[np.ndarray, " F"]

    def at(self, row: int) -> Differences:
        """Return one step alone."""
        return Differences(*(getattr(self, one.name)[row : row + 1] for one in fields(self)))

    @classmethod
    def join(cls, parts: Sequence[Differences]) -> Differences:
        """Return the steps of several, one after another."""
        names = [one.name for one in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class Memory:
    """What was seen and done so far in an episode.

    Attributes:
        tokens: latents [1 1 N D] of the last model steps, oldest first.
        actions: model actions [A] between them.
        sent: world actions since the last model step.
        picture: RGB of the last model step; None without ``rgb``.
    """

    tokens: tuple[Tensor, ...] = ()
    actions: tuple[Tensor, ...] = ()
    sent: tuple[Float64[np.ndarray, " A"], ...] = ()
    picture: np.ndarray | None = None


@dataclass(frozen=True)
class Watcher:
    """Foresees every step with a world model and looks what came.

    Attributes:
        model: encodes and foresees.
        bounds: the world's box of actions; nothing done is the action in it nearest to zero.
        observes: observation streams that the model needs.
        history: most model steps that the model sees.
        frame_skip: world steps per model step.
        image_size: pictures are brought to this size, pixels; None leaves them as they come.
    """

    model: WorldModel
    bounds: ActionBounds
    observes: tuple[str, ...] = ("rgb",)
    history: int = 4
    frame_skip: int = 1
    image_size: int | None = None

    def __post_init__(self) -> None:
        if min(self.history, self.frame_skip) < 1:
            raise ConfigError(
                "A watcher's history and frame_skip must be at least 1; "
                f"got {self.history} and {self.frame_skip}."
            )

    @property
    def nothing(self) -> Float64[np.ndarray, " A"]:
        """The action nearest to zero."""
        return np.clip(np.zeros(self.bounds.width), self.bounds.low, self.bounds.high)

    def see(self, observation: Observation, memory: Memory) -> tuple[Differences | None, Memory]:
        """Return the differences of this step, and what is remembered of it.

        None at the first step, and at world steps between two model steps.
        """
        picture = observation.streams.get("rgb")
        if not memory.tokens:
            return None, replace(memory, tokens=(self._encode(observation),), picture=picture)
        if len(memory.sent) < self.frame_skip:
            return None, memory
        came = self._encode(observation)
        taken = torch.from_numpy(np.concatenate(memory.sent).astype(np.float32))
        changed = _picture_change(memory.picture, picture)
        differences = self._differences(memory, taken, came, changed)
        actions = (*memory.actions, taken)[-(self.history - 1) :] if self.history > 1 else ()
        tokens = (*memory.tokens, came)[-self.history :]
        return differences, Memory(tokens, actions, picture=picture)

    def did(self, action: Float[np.ndarray, " A"], memory: Memory) -> Memory:
        """Return the memory after an action was sent."""
        return replace(memory, sent=(*memory.sent, np.asarray(action, np.float64)))

    @torch.no_grad()
    def _differences(
        self, memory: Memory, taken: Tensor, came: Tensor, changed: float
    ) -> Differences:
        nothing = torch.from_numpy(np.tile(self.nothing, self.frame_skip).astype(np.float32))
        between = torch.stack(memory.actions)[None] if memory.actions else None
        latent = Latent(torch.cat(memory.tokens, dim=1), between)
        plans = torch.stack([taken, nothing])[None, :, None]
        foreseen, idle = self.model.rollout(latent, plans)[0, :, 0].flatten(1).float()
        was, is_ = memory.tokens[-1].flatten().float(), came.flatten().float()
        pairs = ((is_, foreseen), (is_, idle), (foreseen, was), (is_, was))
        residual, missed, expected, change = ((a - b).numpy()[None] for a, b in pairs)
        return Differences(residual, missed, expected, change, np.array([changed]))

    def _encode(self, observation: Observation) -> Float[Tensor, "1 1 N D"]:
        return encode_observation(self.model, observation.only(self.observes), self.image_size)


@dataclass(frozen=True)
class Seen:
    """An episode as it was watched.

    Attributes:
        states: latents at every model step, the first included.
        differences: at model steps 1 to F.
    """

    # F + 1 steps; the shape check reads fields in order and meets F only below
    states: Float32[np.ndarray, "_ X"]
    differences: Differences


def watch(
    watcher: Watcher, observations: Sequence[Observation], actions: Float64[np.ndarray, "T A"]
) -> Seen:
    """Watch a whole episode, step by step as it is done live.

    Args:
        watcher: who watches.
        observations: T + 1 of them.
        actions: between them.
    """
    memory, states, found = Memory(), [], []
    for step, observation in enumerate(observations):
        differences, memory = watcher.see(observation, memory)
        if step % watcher.frame_skip == 0:
            states.append(memory.tokens[-1].flatten().float().numpy())
        found += [] if differences is None else [differences]
        if step < len(actions):
            memory = watcher.did(actions[step], memory)
    return Seen(np.stack(states), Differences.join(found))


def _picture_change(before: np.ndarray | None, after: np.ndarray | None) -> float:
    if before is None or after is None:
        return 0.0
    return float(np.abs(after.astype(np.int16) - before).mean()) / 255

"""Peer policy: a trained peer as a policy of armillary's harness, and the factory that loads it.

The peers' solvers know no bounds. What they send beyond the world's box is clipped here, after
un-normalising, which is what their environments do with it; nothing else of theirs is touched.

Axes: A action, H W image.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.benchmark.ground.clips import ActionScale
from armillary.benchmark.ground.kinds import PEER_KINDS
from armillary.benchmark.ground.player import Player
from armillary.benchmark.ground.saved import load_peer, peer_files
from armillary.benchmark.ground.settings import FRAME_SKIP, PeerPlanning
from armillary.control.carry import Decision
from armillary.core.errors import ShapeError
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.values import ActionBounds, Observation, WorldSpec


@dataclass(frozen=True)
class PeerState:
    """Where the episode is.

    Attributes:
        step: world step of the next action.
        player: who plays; it keeps the peer's plan.
        picture: the last one that was looked at.
        decision: the last decision, for the record.
    """

    step: int
    player: Player
    picture: np.ndarray
    decision: Decision | None = None


@dataclass(frozen=True)
class PeerPolicy:
    """Plays as the peer does.

    Attributes:
        kind: a key of ``PEER_KINDS``.
        model: the peer's world model.
        scale: of the actions that it was trained on.
        planning: settings of its planning.
        image_size: that it was trained on, pixels.
        bounds: the world's box of actions.
    """

    kind: str
    model: Any
    scale: ActionScale
    planning: PeerPlanning
    image_size: int
    bounds: ActionBounds

    @property
    def observes(self) -> tuple[str, ...]:
        """It sees pictures."""
        return ("rgb",)

    def looks(self, state: PeerState) -> bool:
        """Tell whether the next step is one at which the peer decides anew."""
        return state.step % (self.planning.executed * FRAME_SKIP) == 0

    def init(self, goal: Observation, seed: int) -> PeerState:
        """Return the state at the start of an episode."""
        make = PEER_KINDS[self.kind].player
        picture = goal.streams["rgb"]
        player = make(self.model, self.scale, self.planning, self.image_size, picture, seed)
        return PeerState(0, player, picture)

    def act(
        self, observation: Observation, state: PeerState
    ) -> tuple[Float[np.ndarray, " A"], PeerState]:
        """Return the peer's next action within the bounds; every 25 steps it decides anew."""
        picture, decision = state.picture, state.decision
        if self.looks(state):
            picture = observation.streams["rgb"]
            decision = Decision(state.step, self.planning.model_steps, None, {})
        # between decisions their policy takes actions from its buffer, whatever it is shown
        sent = np.asarray(state.player(picture), np.float64)
        action = np.clip(sent, self.bounds.low, self.bounds.high)
        return action, replace(state, step=state.step + 1, picture=picture, decision=decision)


@dataclass(frozen=True)
class PeerSpec:
    """A ``PeerPolicy`` on a folder that ``train_peer`` wrote.

    Attributes:
        folder: of the trained peer.
        planning: settings of its planning.
    """

    folder: Path
    planning: PeerPlanning = field(default_factory=PeerPlanning)

    def __call__(self, world: WorldSpec) -> PeerPolicy:
        """Return the policy, with the peer loaded.

        Raises:
            CheckpointError: the folder is not a complete peer.
            ShapeError: its actions are not the world's.
        """
        about, network = load_peer(Path(self.folder))
        scale = ActionScale.from_dict(about["actions"])
        if len(scale.mean) != world.bounds.width:
            raise ShapeError(
                f"The peer takes actions of width {len(scale.mean)}, the world's have "
                f"{world.bounds.width}; use the world it was trained in."
            )
        size = int(about["training"]["image_size"])
        return PeerPolicy(
            about["kind"], network.world_model, scale, self.planning, size, world.bounds
        )

    def identity(self) -> str:
        """Return the hash of the peer's files and its planning, the folder's place left out."""
        files = {file.name: file_sha256(file) for file in peer_files(Path(self.folder))}
        return f"peer {json_sha256([files, asdict(self.planning)])}"

"""Kinds of peers: how each is made, and how it plays an episode. A new peer is one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from armillary.benchmark.ground.clips import ActionScale
from armillary.benchmark.ground.networks import LeWMNetwork, PLDMNetwork
from armillary.benchmark.ground.player import Player, play
from armillary.benchmark.ground.settings import PeerPlanning, PeerTraining


@dataclass(frozen=True)
class PeerKind:
    """One peer.

    Attributes:
        network: makes its network (a module with ``loss`` and ``world_model``) from the settings
            of its training and the action width of one model step.
        player: makes who plays one episode from the world model, the scale of actions, the
            settings of planning, the picture size, the goal's picture and a seed.
    """

    network: Callable[[PeerTraining, int], Any]
    player: Callable[[Any, ActionScale, PeerPlanning, int, np.ndarray, int], Player]


PEER_KINDS: dict[str, PeerKind] = {
    "lewm": PeerKind(LeWMNetwork, play),
    "pldm": PeerKind(PLDMNetwork, play),
}

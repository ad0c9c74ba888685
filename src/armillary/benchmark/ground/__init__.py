"""Ground: armillary and peers on the same episodes, the same clock, the same evaluation.

Runs where the peers' package is installed. Their models, losses, solver and policy are the
package's own classes; what surrounds them here is the data, the clock and armillary's harness.
"""

from armillary.benchmark.ground.kinds import PEER_KINDS, PeerKind
from armillary.benchmark.ground.learning import train_peer
from armillary.benchmark.ground.own import train_own
from armillary.benchmark.ground.policy import PeerPolicy, PeerSpec
from armillary.benchmark.ground.results import merge_environment, summarise_task
from armillary.benchmark.ground.settings import PeerPlanning, PeerTraining, equal_planning

__all__ = [
    "PEER_KINDS",
    "PeerKind",
    "PeerPlanning",
    "PeerPolicy",
    "PeerSpec",
    "PeerTraining",
    "equal_planning",
    "merge_environment",
    "summarise_task",
    "train_own",
    "train_peer",
]

"""Peers: armillary, LeWM and PLDM from the same recording, for the same time, judged alike."""

from armillary.recipes.peers.bench import bench_peers
from armillary.recipes.peers.config import PeersConfig, make_config
from armillary.recipes.peers.grounds import GROUNDS

__all__ = ["GROUNDS", "PeersConfig", "bench_peers", "make_config"]

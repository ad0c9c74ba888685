"""Serve: a model as a policy server for robots, over openpi's websocket protocol."""

from armillary.serve.codec import pack, unpack
from armillary.serve.server import ServerConfig, serving
from armillary.serve.session import Decider, Session, world_of_a_robot

__all__ = [
    "Decider",
    "ServerConfig",
    "Session",
    "pack",
    "serving",
    "unpack",
    "world_of_a_robot",
]

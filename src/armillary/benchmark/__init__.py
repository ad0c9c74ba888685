"""Benchmark: speed side by side, every side in the same run on the same machine.

A peer is measured as its own installed package, in an environment of its own, by a script that runs
there; nothing of it is copied or imported here.
"""

from armillary.benchmark.loader import LoaderBench, bench_loader
from armillary.benchmark.machine import describe_machine
from armillary.benchmark.peers import PeerProcess, peer_venv
from armillary.benchmark.plan import PlanBench, bench_plan
from armillary.benchmark.sensors import SensorsBench, bench_sensors
from armillary.benchmark.train import TrainBench, bench_train

__all__ = [
    "LoaderBench",
    "PeerProcess",
    "PlanBench",
    "SensorsBench",
    "TrainBench",
    "bench_loader",
    "bench_plan",
    "bench_sensors",
    "bench_train",
    "describe_machine",
    "peer_venv",
]

"""Serve a model to the real openpi-client and compare with acting in process: results/serve.json.

    python scripts/measure_serving.py MODEL CLIENT_PYTHON [--episodes 50] [--record FILE]

CLIENT_PYTHON is the Python of an environment with ``openpi-client==0.1.2``, ``typing_extensions``
and numpy below 2. It runs the stock client with its ``ActionChunkBroker`` and knows nothing of
armillary. The world runs here, since armillary needs a newer numpy; a pipe carries observations to
the client and actions back. A second client asks all the while with goals of its own.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from armillary.benchmark.machine import core_count, provenance
from armillary.core.files import read_json, write_json
from armillary.core.values import Observation
from armillary.evaluation import ModelSpec, WorldFactory, evaluate, make_manifest
from armillary.evaluation.episode import policy_seed
from armillary.evaluation.manifest import draw_goal
from armillary.evaluation.records import actions_of
from armillary.serve import pack, unpack
from armillary.zoo.finding import find_model

WORLD, TASK = "tabletop", "reach"
BUDGET_PART = "latency_budget"  # of the record, which scripts/measure_serving_budget.py writes
_CLIENT = """
import struct, sys, time
from openpi_client import action_chunk_broker, msgpack_numpy, websocket_client_policy
policy = websocket_client_policy.WebsocketClientPolicy(host="127.0.0.1", port=int(sys.argv[1]))
broker = action_chunk_broker.ActionChunkBroker(policy, action_horizon=1)
unpack, packer = msgpack_numpy.unpackb, msgpack_numpy.Packer()
read, write = sys.stdin.buffer, sys.stdout.buffer
while True:
    head = read.read(4)
    if len(head) < 4:
        break
    request = unpack(read.read(struct.unpack("<I", head)[0]))
    began = time.perf_counter()
    reply = broker.infer(request)
    reply = {"actions": reply["actions"], "ms": 1000 * (time.perf_counter() - began)}
    data = packer.pack(reply)
    write.write(struct.pack("<I", len(data)) + data)
    write.flush()
"""


class Client:
    """The stock client in a process of its own."""

    def __init__(self, python: str, port: int) -> None:
        words = [python, "-c", _CLIENT, str(port)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def infer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return what the client got for a request."""
        sends, gets = self.process.stdin, self.process.stdout
        assert sends is not None and gets is not None
        data = pack(request)
        sends.write(struct.pack("<I", len(data)) + data)
        sends.flush()
        return unpack(gets.read(struct.unpack("<I", gets.read(4))[0]))


def named(what: str, observation: Observation) -> dict[str, Any]:
    """Return streams by the names that a request has for them."""
    return {f"{what}/{name}": value for name, value in observation.streams.items()}


def _ask_all_the_while(client: Client, request: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(0.1):
        client.infer(request)


@contextmanager
def served(model: Path, *flags: str) -> Iterator[int]:
    """Serve a model by the command, and give the port."""
    with serving_process(model, *flags) as (port, _):
        yield port


@contextmanager
def serving_process(model: Path, *flags: str) -> Iterator[tuple[int, int]]:
    """Serve a model by the command, and give the port and the number of the process."""
    words = [sys.executable, "-m", "armillary", "serve", str(model), WORLD, "--port", "0", *flags]
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stderr is not None
        line = next(line for line in run.stderr if "serving" in line)
        try:
            yield int(line.split(";")[0].rsplit(":", 1)[1]), run.pid
        finally:
            run.terminate()
            assert run.wait(20) == 0, "the server ends cleanly on SIGTERM"


def compared(model: Path, python: str, episodes: int) -> dict[str, Any]:
    """Return success and times of acting through the server, beside acting in process."""
    folder = find_model(model)
    from armillary.models import load_model

    size = load_model(folder).config.encoder.image_size
    manifest = make_manifest(WORLD, TASK, episodes, 21, settings={"image_size": size})
    records = evaluate(manifest, ModelSpec(folder))
    world = WorldFactory(WORLD, manifest.settings)()
    first = world.reset(7)
    world_streams = named("observation", first) | named("goal", first)
    times: list[float] = []
    equal, solved = 0, 0
    with served(model) as port:
        client = Client(python, port)
        busy = Client(python, port)
        stop = threading.Event()
        asking = threading.Thread(target=_ask_all_the_while, args=(busy, world_streams, stop))
        asking.start()
        for episode, record in zip(manifest.episodes, records, strict=True):
            now = world.reset(episode.seed)
            goal = draw_goal(world, manifest.task, episode)
            request = named("goal", goal.observation) | {"seed": policy_seed(episode)}
            request["steps"] = manifest.budget
            sent = []
            for _ in range(record.steps):
                found = client.infer(request | named("observation", now))
                request = {}
                times.append(found["ms"])
                sent.append(found["actions"])
                now = world.step(found["actions"])
            equal += bool(np.array_equal(np.array(sent), actions_of(record)))
            solved += world.distance(goal) <= manifest.success_distance
        stop.set()
        asking.join()
        for one in (busy, client):
            one.process.kill()
    world.close()
    return {
        "world": WORLD,
        "task": TASK,
        "n": episodes,
        "episodes_with_equal_actions": equal,
        "solved_through_the_server": int(solved),
        "solved_in_process": sum(record.success for record in records),
        "client_ms": {str(q): float(np.quantile(times, q)) for q in (0.5, 0.95, 0.99)},
        "decisions": len(times),
        "clients": 2,
        "client": "openpi-client 0.1.2 with its ActionChunkBroker",
    }


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("client_python")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--record", type=Path, default=Path("results/serve.json"))
    chosen = parser.parse_args()
    value = compared(chosen.model, chosen.client_python, chosen.episodes)
    value |= provenance(" ".join(["python", *sys.argv]), core_count())
    before = read_json(chosen.record) if chosen.record.is_file() else {}
    kept = {name: part for name, part in before.items() if name == BUDGET_PART}
    write_json(chosen.record, value | kept)
    sys.stdout.write(f"{value}\n")


if __name__ == "__main__":
    main()

"""Decide under a latency budget through the server: ``latency_budget`` of results/serve.json.

    python scripts/measure_serving_budget.py MODEL [--decisions 1000] [--record FILE]

First nobody names a budget, which says how long the search takes. Then every request names one that
is a share of that, from half of it to twice as much. A decision is in time if the server made
it within the budget. The client's own times, the way there and back included, are told beside it.

An episode has as many steps as the search looks ahead, so that every decision could be a search.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from measure_serving import BUDGET_PART, TASK, WORLD, named, served
from websockets.sync.client import ClientConnection, connect

from armillary.benchmark.machine import core_count, provenance
from armillary.core.errors import FormatError
from armillary.core.files import read_json, write_json
from armillary.core.protocols import World
from armillary.core.statistics import wilson_interval
from armillary.evaluation import Manifest, WorldFactory, make_manifest
from armillary.evaluation.episode import policy_seed
from armillary.evaluation.manifest import draw_goal
from armillary.models import load_model
from armillary.planning import GuidedConfig
from armillary.serve import pack, unpack
from armillary.zoo.finding import find_model

SHARES = (0.5, 0.75, 1.0, 2.0)
FREE_DECISIONS = 120


@dataclass
class Times:
    """What was measured of some decisions.

    Attributes:
        server_ms: each decision took, as the server says.
        client_ms: from the request to the reply.
        searched: whether each was a search.
        cut_short: whether each began a search that did not end in time.
        missed: whether the server says that it missed its budget.
        successes: episodes that ended at the goal.
        episodes: that ended.
    """

    server_ms: list[float] = field(default_factory=list)
    client_ms: list[float] = field(default_factory=list)
    searched: list[bool] = field(default_factory=list)
    cut_short: list[bool] = field(default_factory=list)
    missed: list[bool] = field(default_factory=list)
    successes: int = 0
    episodes: int = 0

    def took(self, searched: bool) -> list[float]:
        """Return the server's times of decisions with a search, or of those without."""
        pairs = zip(self.server_ms, self.searched, strict=True)
        return [ms for ms, one in pairs if one == searched]


def quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return median, 99th percentile and maximum; None of nothing."""
    if not values:
        return None
    return {str(q): float(np.quantile(values, q)) for q in (0.5, 0.99, 1.0)}


def asked(client: ClientConnection, request: dict[str, Any]) -> dict[str, Any]:
    """Return the reply to a request.

    Raises:
        FormatError: the server refused it.
    """
    client.send(pack(request))
    reply = client.recv(timeout=60)
    if isinstance(reply, str):
        raise FormatError(reply)
    return unpack(reply)


def decided(
    client: ClientConnection, world: World, manifest: Manifest, count: int, budget: float | None
) -> Times:
    """Act in one episode after another until ``count`` decisions are made."""
    times = Times()
    for episode in manifest.episodes:
        now = world.reset(episode.seed)
        goal = draw_goal(world, manifest.task, episode)
        request = named("goal", goal.observation) | {"seed": policy_seed(episode)}
        request["steps"] = manifest.budget
        for _ in range(manifest.budget):
            if len(times.server_ms) == count:
                return times
            request |= named("observation", now)
            request |= {} if budget is None else {"latency_budget_ms": budget}
            began = time.perf_counter()
            reply = asked(client, request)
            times.client_ms.append(1000 * (time.perf_counter() - began))
            times.server_ms.append(reply["policy_timing"]["infer_ms"])
            times.searched.append(reply["plan"]["model_steps"] > 0)
            times.cut_short.append(reply["plan"]["cut_short"])
            times.missed.append(reply["plan"]["deadline_missed"])
            request = {}
            now = world.step(reply["actions"][0])
        times.episodes += 1
        times.successes += world.distance(goal) <= manifest.success_distance
    raise FormatError("The manifest has too few episodes for this many decisions.")


def row_of(times: Times, share: float, budget: float) -> dict[str, Any]:
    """Return what is told of the decisions under one budget."""
    count = len(times.missed)
    kept = count - sum(times.missed)
    return {
        "share_of_search": share,
        "budget_ms": budget,
        "decisions": count,
        "in_time": kept,
        "interval": list(wilson_interval(kept, count)),
        "in_time_at_the_client": sum(ms <= budget for ms in times.client_ms),
        "searched": sum(times.searched),
        "cut_short": sum(times.cut_short),
        "server_ms": quantiles(times.server_ms),
        "client_ms": quantiles(times.client_ms),
        "solved": times.successes,
        "episodes": times.episodes,
    }


def measured(model: Path, decisions: int) -> dict[str, Any]:
    """Return what happens under each budget."""
    folder = find_model(model)
    size = load_model(folder).config.encoder.image_size
    steps = GuidedConfig().longest
    count = -(-max(decisions, FREE_DECISIONS) // steps) + 1
    settings = {"image_size": size}
    manifest = make_manifest(WORLD, TASK, count, 21, settings=settings, budget=steps)
    world = WorldFactory(WORLD, manifest.settings)()
    with served(folder) as port, connect(f"ws://127.0.0.1:{port}", max_size=None) as client:
        client.recv(timeout=60)
        free = decided(client, world, manifest, FREE_DECISIONS, None)
        search = float(np.median(free.took(searched=True)))
        rows = [
            row_of(
                decided(client, world, manifest, decisions, share * search), share, share * search
            )
            for share in SHARES
        ]
    world.close()
    return {
        "world": WORLD,
        "task": TASK,
        "without_a_budget": {
            "decisions": len(free.server_ms),
            "searched": sum(free.searched),
            "search_ms": quantiles(free.took(searched=True)),
            "solved": free.successes,
            "episodes": free.episodes,
        },
        "budgets": rows,
    }


def main() -> None:
    """Measure, and write the part of the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--decisions", type=int, default=1000)
    parser.add_argument("--record", type=Path, default=Path("results/serve.json"))
    chosen = parser.parse_args()
    origin = provenance(" ".join(["python", *sys.argv]), core_count())
    value = measured(chosen.model, chosen.decisions)
    whole = read_json(chosen.record) if chosen.record.is_file() else origin
    write_json(chosen.record, whole | {BUDGET_PART: value | origin})
    sys.stdout.write(f"{json.dumps(value, indent=2)}\n")


if __name__ == "__main__":
    main()

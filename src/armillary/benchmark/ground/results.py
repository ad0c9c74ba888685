"""Results: rows and paired tests from records alone, merged environment by environment.

    {"environments": {NAME: {"offsets": {25: {POLICY: row, "paired": {PEER: test}}, ...},
                             "paired": {PEER: test over all goals}, ...}}}

Holm's correction runs over every single test of the file (all environments, offsets and peers), so
a claim such as "in three of four environments" is covered; it is renewed whenever one is merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from armillary.control import Record, holm, mcnemar, summarise
from armillary.core.errors import ConfigError, FormatError
from armillary.core.files import read_json, write_json

FORMAT = "armillary.peers/1"
_READING = (
    "Each environment has its own command, commit, date and machine. Those of the file are all "
    "commands, one after another, and what belongs to the environment that was measured last."
)
OURS = "armillary"
Records = Sequence[Record]


def summarise_task(records: Mapping[str, Records], peers: Sequence[str]) -> dict[str, Any]:
    """Return the rows of all policies at one task, and armillary's test against each peer.

    Args:
        records: by policy, ``armillary`` among them. A peer may have run only the first episodes
            of the list; it is compared on those.
        peers: policies that armillary is tested against.

    Raises:
        ConfigError: a peer has an episode that armillary has not, or by other rules.
    """
    rows = {name: _row(found) for name, found in records.items()}
    tests = {name: _paired(records[OURS], records[name]) for name in peers}
    return rows | {"paired": tests}


def pool(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the tests over the episodes of all tasks together, by peer.

    Tasks may share their starts; their pairs are counted as if they did not.
    """
    peers = dict.fromkeys(name for task in tasks.values() for name in task["paired"])
    return {name: _pooled([task["paired"][name] for task in tasks.values()]) for name in peers}


def merge_environment(path: Path, name: str, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Write one environment's results into a file; those of others stay, but for Holm's p-values.

    Args:
        path: the file; it need not exist.
        name: the environment.
        environment: ``offsets`` and ``paired`` as this module makes them, and whatever else.

    Returns:
        Everything in the file.

    Raises:
        FormatError: the file is not one of these.
        StorageError: it cannot be written.
    """
    value: dict[str, Any] = {"format": FORMAT, "environments": {}}
    if path.exists():
        value = read_json(path)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise FormatError(f"{path}: not results of format {FORMAT}; choose another file.")
    value["environments"] = {**value["environments"], name: dict(environment)}
    _correct(value["environments"])
    value |= _origin(value["environments"])
    write_json(path, value)
    return value


def _origin(environments: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``command``, ``commit``, ``date`` and ``machine`` of the whole file."""
    if not all("date" in one for one in environments.values()):
        return {}
    latest = max(environments.values(), key=lambda one: str(one["date"]))
    command = " && ".join(str(one["command"]) for one in environments.values())
    shared = {name: latest[name] for name in ("commit", "date", "machine")}
    return {"command": command, **shared, "reading": _READING}


def _row(records: Records) -> dict[str, Any]:
    row = summarise(records)
    return {
        "n": row.n,
        "success_final": row.success,
        "success_touch": row.first_hit_success,
        "wilson95": list(row.wilson95),
        "wilson95_touch": list(row.first_hit_wilson95),
        "ms_per_decision": row.ms_per_decision,
        "ms_per_decision_p95": row.ms_per_decision_p95,
        "model_steps_per_decision": row.model_steps_per_decision,
        "crashes": row.crashes,
        "timeouts": row.timeouts,
        "median_final_distance": row.median_final_distance,
        "privileged": row.privileged,
    }


def _paired(ours: Records, theirs: Records) -> dict[str, Any]:
    known = {record.id: record for record in ours}
    pairs = [(known.get(record.id), record) for record in theirs]
    a, b = [], []
    for mine, other in pairs:
        if mine is None or not _same_episode(mine, other):
            raise ConfigError(
                f"Episode {other.id} of {other.policy[:16]} has no counterpart among armillary's; "
                "a paired test needs the same episodes under the same rules."
            )
        a.append(mine.success)
        b.append(other.success)
    test = mcnemar(np.array(a, float), np.array(b, float))
    return _test(len(pairs), test.only_a, test.only_b)


def _same_episode(a: Record, b: Record) -> bool:
    """Tell whether both began alike; one that crashed before it began has its seeds alone."""
    rules = [(one.seed, one.goal_seed, one.success_distance) for one in (a, b)]
    begun = bool(a.distances and b.distances)
    return rules[0] == rules[1] and (not begun or a.distances[0] == b.distances[0])


def _pooled(tests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total = {key: sum(test[key] for test in tests) for key in ("n", "only_armillary", "only_peer")}
    return _test(total["n"], total["only_armillary"], total["only_peer"])


def _test(n: int, only_ours: int, only_theirs: int) -> dict[str, Any]:
    discordant = np.array([1.0] * only_ours + [0.0] * only_theirs)
    p = mcnemar(discordant, 1 - discordant).p_value
    return {"n": n, "only_armillary": only_ours, "only_peer": only_theirs, "p": p, "p_holm": p}


def _correct(environments: Mapping[str, Any]) -> None:
    """Renew Holm's p-values: one family of single tests, one of pooled ones."""
    single = [
        test
        for environment in environments.values()
        for task in environment["offsets"].values()
        for test in task["paired"].values()
    ]
    pooled = [test for env in environments.values() for test in env["paired"].values()]
    for family in (single, pooled):
        for test, p in zip(family, holm([test["p"] for test in family]), strict=True):
            test["p_holm"] = p

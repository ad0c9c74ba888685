"""Bench: all stages of one environment after another, and what came of them into the results.

armillary itself runs beside the peers, in their environment: the code that gave the command is
copied to ``code`` first, so that editing it does not change a bench that runs.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import armillary
from armillary.benchmark.ground import merge_environment, summarise_task
from armillary.benchmark.ground.results import pool
from armillary.benchmark.machine import provenance
from armillary.benchmark.peers import peer_environment, peer_python
from armillary.control import read_records
from armillary.core.errors import ArmillaryError, CheckFailedError
from armillary.core.files import read_json, replacing_folder
from armillary.core.progress import Progress, silent
from armillary.recipes.peers.config import OURS, PeersConfig
from armillary.recipes.peers.stages import SETTINGS, rows_file, stages, train_folder

_PROTOCOL = (
    "One recording, split by episode; the same seconds and threads of training for each; the same "
    "evaluation episodes, starts and goals for each, none of them recorded. success_final: at the "
    "goal when the budget of steps is over; success_touch: at any step; solved at the start is "
    "excluded. Peers: their own classes, losses, optimizer, batch, planner. Preparing pictures and "
    "saving are on nobody's clock; gathering clips and fitting scales on armillary's alone. "
    "Episodes that peer_cache_gib has no room for are left out of a peer's training "
    "(prepared_episodes). Recording and goals are the world's collection policy's, which "
    "record_settings and world_settings may name. How often each looks: act.executed, "
    "planning.executed. What a peer sends beyond the bounds is clipped. equal: the peer with as "
    "many model steps per decision as armillary took, or with settings.equal_steps where those are "
    "more; own: with its authors' settings; settings.plannings says which of them bears the peer's "
    "name alone. "
    "paired: McNemar, exact; p_holm over all single tests here. Tasks share their starts, so the "
    "pairs that an environment's own paired adds up are not independent: judge by single tests."
)


def bench_peers(
    config: PeersConfig,
    out: Path,
    results: Path | None = None,
    progress: Progress = silent,
    command: str = "",
    python: Path | None = None,
) -> dict[str, Any]:
    """Record, train and evaluate in one environment, and merge the rows into the results.

    Args:
        config: of the environment.
        out: folder; a bench that was begun there goes on.
        results: file of the results; None for ``out / "peers.json"``.
        progress: told about each stage.
        command: that does the same again, for the results.
        python: of an environment that has the peers; None makes it on demand.

    Returns:
        The environment's results: ``offsets``, ``paired``, ``training``, ``settings``.

    Raises:
        MissingExtraError: the peers could not be installed.
        CheckFailedError: a stage ended without an answer, or all episodes of a policy broke.
        ArmillaryError: what a stage said.
    """
    folder = out / config.folder
    python = python or peer_python("ground")
    config.save(folder / SETTINGS)
    _keep_code(folder / "code" / "armillary")
    origin = provenance(command, config.threads)
    found: dict[str, Any] = {}
    for stage in stages(config):
        _run(python, folder, stage, config.threads, progress)
        if stage.startswith("evaluate:"):
            found = environment_results(folder, config) | origin
            merged = merge_environment(results or out / "peers.json", config.name, found)
            found = merged["environments"][config.name]
    return found


def environment_results(folder: Path, config: PeersConfig) -> dict[str, Any]:
    """Return the results of the tasks that have been evaluated so far, from what is on disk.

    Args:
        folder: of the environment.
        config: its settings.

    Raises:
        FormatError: records are damaged.
    """
    offsets: dict[str, Any] = {}
    for task in config.tasks:
        listed = rows_file(folder, config, task)
        if listed.is_file():
            offsets[task.removeprefix("ahead_")] = _task_results(folder, config, read_json(listed))
    trained = {policy: train_folder(folder, config, policy) for policy in (OURS, *config.variants)}
    return {
        "protocol": _PROTOCOL,
        "offsets": offsets,
        "paired": pool(offsets),
        "training": {name: read_json(path / "trained.json") for name, path in trained.items()},
        "settings": asdict(config),
        "armillary": armillary.__version__,
    }


def _task_results(folder: Path, config: PeersConfig, listed: Mapping[str, Any]) -> dict[str, Any]:
    records = {name: read_records(folder / row["records"]) for name, row in listed["rows"].items()}
    peers = [f"{name}{suffix}" for name in config.variants for suffix in config.suffixes.values()]
    rows = summarise_task(records, peers)
    planning = {name: row["planning"] for name, row in listed["rows"].items() if row["planning"]}
    about = {name: listed[name] for name in ("manifest", "budget", "reachable", "date")}
    return rows | {"planning": planning} | about


def _run(python: Path, folder: Path, stage: str, threads: int, progress: Progress) -> None:
    """Run one stage in a process; it ends with this one, whatever happens here."""
    environment = peer_environment(threads) | {"PYTHONPATH": str((folder / "code").resolve())}
    command = [str(python), "-W", "ignore", "-m", "armillary.recipes.peers", str(folder), stage]
    with (
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
        ) as process,
    ):
        try:
            last = _listen(process, stage, progress)
        finally:
            if process.poll() is None:
                process.terminate()
        if "error" in last:
            raise _as_error(stage, last)
        if not last.get("finished"):
            process.wait()
            stderr.seek(0)
            said = [line.strip() for line in stderr if line.strip()] or ["it said nothing"]
            if process.returncode == -signal.SIGKILL:
                said.append("killed from outside, perhaps because memory ran out")
            raise CheckFailedError(
                f"{folder}: the stage {stage} ended with code {process.returncode} ({said[-1]}); "
                "run the command again to continue."
            )


def _listen(process: subprocess.Popen[str], stage: str, progress: Progress) -> dict[str, Any]:
    """Pass on what the stage reports until it has finished, and return its last message."""
    assert process.stdout
    message: dict[str, Any] = {}
    for line in process.stdout:
        message = json.loads(line)
        if "done" in message:
            progress(message["done"], message["total"], f"{stage} {message['note']}")
        else:
            break
    return message


def _as_error(stage: str, message: Mapping[str, Any]) -> ArmillaryError:
    error = ArmillaryError(f"{stage}: {message['error']}")
    error.exit_code = int(message["exit_code"])
    return error


def _keep_code(place: Path) -> None:
    source = Path(armillary.__file__).parent
    with replacing_folder(place) as beside:
        shutil.copytree(
            source, beside, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )

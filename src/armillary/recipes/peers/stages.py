"""Stages of a peers bench: record, train one policy, evaluate one task. Each can be killed.

They run in the environment where the peers live, one process each:

    python -m armillary.recipes.peers FOLDER STAGE
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from armillary.benchmark.ground import (
    PeerPlanning,
    PeerSpec,
    equal_planning,
    train_own,
    train_peer,
)
from armillary.benchmark.machine import date, describe_machine
from armillary.control import (
    Manifest,
    NoOpSpec,
    OracleSpec,
    RandomSpec,
    Record,
    WorldFactory,
    evaluate,
    load_manifest,
    make_manifest,
    summarise,
)
from armillary.control.specs import PolicyFactory, identity_of
from armillary.core.errors import CheckFailedError, ConfigError, unknown_name
from armillary.core.files import write_json
from armillary.core.hashing import json_sha256
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.data import Cache, Dataset, open_dataset, prepare, split_episodes
from armillary.recipes.peers.config import OURS, PeersConfig, read_config
from armillary.recipes.recipe import fitted, needed_streams
from armillary.recipes.world import adapted, adapted_to
from armillary.worlds import record

SETTINGS = "settings.json"
_GIB = 1 << 30


def stages(config: PeersConfig) -> list[str]:
    """Return the names of all stages in their order."""
    trained = [f"train:{policy}" for policy in (OURS, *config.variants)]
    return ["record", *trained, *(f"evaluate:{task}" for task in config.tasks)]


def run_stage(folder: Path, stage: str, progress: Progress = silent) -> None:
    """Run a stage with the settings in ``folder``; what is finished already is kept.

    Args:
        folder: of one environment.
        stage: one of ``stages``.
        progress: told about whatever the stage counts.

    Raises:
        ConfigError: there is no such stage.
        ArmillaryError: as recording, training and evaluation raise.
    """
    config = read_config(folder / SETTINGS)
    if stage not in stages(config):
        raise unknown_name("stage", stage, stages(config))
    torch.set_num_threads(config.threads)
    kind, _, what = stage.partition(":")
    if kind == "record":
        record_stage(folder, config, progress)
    elif kind == "train":
        train_stage(folder, config, what, progress)
    else:
        evaluate_stage(folder, config, what, progress)


def record_stage(folder: Path, config: PeersConfig, progress: Progress = silent) -> None:
    """Record the one dataset that everybody learns from.

    Raises:
        ConfigError: the world has no such tasks, or its model steps have fewer world steps than
            ``act.executed``; that is met here, before hours of training.
    """
    _check_world(config)
    out = data_folder(folder, config)
    done = out.with_suffix(".json")
    if done.is_file():
        return
    summary = record(
        config.world,
        out,
        config.recorded,
        config.steps,
        workers=config.workers,
        seed=config.seed,
        settings={"image_size": config.picture, **config.record_settings},
        resume=out.exists(),
        progress=progress,
    )
    write_json(done, {"episodes": summary.episodes, "date": date()})


def train_stage(
    folder: Path, config: PeersConfig, policy: str, progress: Progress = silent
) -> None:
    """Train one policy for the seconds that each has. One that was killed begins anew."""
    out = train_folder(folder, config, policy)
    if (out / "trained.json").is_file():
        return
    data = open_dataset(data_folder(folder, config))
    machine, begun = describe_machine(config.threads), date()
    teach = _teach_own if policy == OURS else _teach_peer
    numbers = teach(folder, config, policy, data, progress)
    about = {"threads": config.threads, "machine": machine, "date": begun}
    write_json(out / "trained.json", numbers | about)


def evaluate_stage(
    folder: Path, config: PeersConfig, task: str, progress: Progress = silent
) -> None:
    """Run every policy on the same episodes of a task and list the records in ``rows_file``."""
    place = folder / "evaluate" / task
    manifest = _manifest(place, config, task)
    rows: dict[str, Any] = {}

    def run(name: str, spec: PolicyFactory, list_: Manifest, about: Any = None) -> list[Record]:
        def told(done: int, total: int, note: str = "") -> None:
            progress(done, total, f"{name}: {note}")

        key = json_sha256([list_.sha256, identity_of(spec)])[:12]
        file = place / "records" / f"{name}-{key}.jsonl"
        records = list(evaluate(list_, spec, workers=config.workers, progress=told, out=file))
        _check_not_broken(name, records, file)
        rows[name] = {"records": str(file.relative_to(folder)), "planning": about}
        return records

    for name, spec in (("noop", NoOpSpec()), ("random", RandomSpec()), ("oracle", OracleSpec())):
        run(name, spec, manifest)
    model = train_folder(folder, config, OURS) / "model"
    ours = run(OURS, config.policy(model), manifest, dict(config.act))
    steps = max(config.equal_steps, round(summarise(ours).model_steps_per_decision))
    for suffix, planning, list_ in _peer_plannings(config, task, manifest, steps):
        for policy in config.variants:
            spec = PeerSpec(train_folder(folder, config, policy), planning)
            run(policy + suffix, spec, list_, asdict(planning))
    about = {
        "manifest": manifest.sha256,
        "budget": manifest.budget,
        "reachable": manifest.reachable,
        "date": date(),
    }
    write_json(rows_file(folder, config, task), about | {"rows": rows})


def data_folder(folder: Path, config: PeersConfig) -> Path:
    """Return the folder of the recording."""
    return folder / "data" / config.data_key()


def train_folder(folder: Path, config: PeersConfig, policy: str) -> Path:
    """Return the folder of a trained policy."""
    return folder / "train" / f"{policy}-{config.train_key(policy)}"


def rows_file(folder: Path, config: PeersConfig, task: str) -> Path:
    """Return the file that lists a task's records; those of other settings have others."""
    return folder / "evaluate" / task / f"rows-{config.rows_key(task)}.json"


def _teach_own(
    folder: Path, config: PeersConfig, policy: str, data: Dataset, progress: Progress
) -> dict[str, Any]:
    cache = prepare(data, config.recipe.model.encoder.image_size, cache_root=folder / "cache")
    recipe = fitted(replace(adapted(config.recipe, data), seed=config.seed), cache)
    training, _ = split_episodes(cache.num_episodes, config.held_out, config.seed)
    streams, out = needed_streams(recipe, cache), train_folder(folder, config, policy)
    seconds = config.seconds * (1 - config.prior_share)
    numbers = train_own(recipe.model, recipe, cache, training, streams, seconds, out, progress)
    if config.prior_share:
        from armillary.benchmark.ground.own_prior import train_own_prior

        left = config.seconds - numbers["seconds"]
        prior = train_own_prior(
            out / "model",
            cache,
            training,
            streams,
            left,
            config.prior_config,
            recipe.augment,
            progress,
        )
        total = round(numbers["seconds"] + prior["seconds"], 2)
        numbers |= {"seconds": total, "prior": prior}
    size = recipe.model.encoder.image_size
    return numbers | {"episodes": len(training), "image_size": size}


def _teach_peer(
    folder: Path, config: PeersConfig, policy: str, data: Dataset, progress: Progress
) -> dict[str, Any]:
    kind, settings = config.variants[policy]
    training, _ = split_episodes(data.num_episodes, config.held_out, config.seed)
    kept = _within_room(training, data, settings.image_size, config)
    cache: Cache = prepare(data, settings.image_size, folder / "cache", episodes=kept)
    out = train_folder(folder, config, policy)
    everything = np.arange(cache.num_episodes)
    numbers = train_peer(
        kind, cache, everything, settings, config.seconds, out, config.seed, progress
    )
    seen = round(numbers["frames"] / cache.num_frames, 3)
    about = {"episodes": len(training), "prepared_episodes": len(kept)}
    return numbers | about | {"seen_of_prepared": seen, "image_size": settings.image_size}


def _within_room(
    training: Int[np.ndarray, " E"], data: Dataset, size: int, config: PeersConfig
) -> Int[np.ndarray, " F"]:
    """Return as many training episodes, drawn at random, as the peer's pictures may take."""
    order = generator("ground.room", config.seed).permutation(training)
    ends = np.cumsum(np.asarray(data.lengths)[order]) * 3 * size * size
    fits = max(1, int(np.count_nonzero(ends <= config.peer_cache_gib * _GIB)))
    return np.sort(order[:fits])


def _check_world(config: PeersConfig) -> None:
    world = WorldFactory(config.world, {"image_size": config.picture, **config.world_settings})()
    try:
        spec = world.spec
    finally:
        world.close()
    for task in config.tasks:
        if task not in spec.tasks:
            raise unknown_name(f"task of {config.world}", task, spec.tasks)
    skip = adapted_to(config.recipe, {"rgb"}, 1 / spec.step_s, acts=True).model.frame_skip
    executed = config.act.get("executed")
    if executed is not None and not 1 <= executed <= skip:
        raise ConfigError(
            f"act.executed is 1 to {skip}, the world steps of a model step (model.frame_skip); "
            f"got {executed}."
        )


def _manifest(place: Path, config: PeersConfig, task: str) -> Manifest:
    path = place / f"manifest-{config.manifest_key(task)}.json"
    if path.is_file():
        return load_manifest(path)
    manifest = make_manifest(
        config.world,
        task,
        config.episodes,
        config.seed,
        {"image_size": config.picture, **config.world_settings},
        # no decision of anybody may take more model steps than the peers' own
        planner_budget=config.planning.model_steps,
    )
    manifest.save(path)
    return manifest


def _peer_plannings(
    config: PeersConfig, task: str, manifest: Manifest, steps: int
) -> list[tuple[str, PeerPlanning, Manifest]]:
    """Return suffix, settings and episodes of each of the peers' plannings, the cheap one first."""
    first = config.own_episodes.get(task, len(manifest.episodes))
    own = replace(manifest, episodes=manifest.episodes[:first])
    known = {
        "equal": (equal_planning(config.planning, steps), manifest),
        "own": (config.planning, own),
    }
    suffixes = config.suffixes
    return [(suffixes[name], *made) for name, made in known.items() if name in suffixes]


def _check_not_broken(name: str, records: list[Record], file: Path) -> None:
    """Refuse records of which every one is a crash: that is a mistake, not a result."""
    if all(record.outcome == "crash" for record in records):
        # out of the way, so that the next command runs the episodes again
        file.replace(file.with_suffix(".broken"))
        raise CheckFailedError(f"{name}: every episode broke; the first: {records[0].error}")

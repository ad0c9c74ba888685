"""Acting: a model's closed-loop evaluation with its floors and its ceiling, written to a folder.

    manifest.json           made before anything is run
    records/NAME.jsonl      one line per episode: model, random, noop, oracle
    rows.json               computed from the records alone, with paired tests against each other,
                            and why a model's failed episodes failed

A folder that holds records of the same evaluation is continued.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from armillary.core.alone import alone_in
from armillary.core.errors import ConfigError, ShapeError
from armillary.core.files import write_json
from armillary.core.on_ray import connected, ray_address
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.evaluation import (
    Manifest,
    ModelSpec,
    NoOpSpec,
    Oracle,
    OracleSpec,
    RandomSpec,
    Record,
    Row,
    WorldFactory,
    compare,
    evaluate,
    make_manifest,
    read_records,
    summarise,
)
from armillary.evaluation.evaluate import resume_records
from armillary.evaluation.on_ray import evaluate_on_ray
from armillary.evaluation.records_once import mend
from armillary.evaluation.specs import PolicyFactory
from armillary.evaluation.sub_goals import acting_spec
from armillary.models import load_model
from armillary.planning import Planning
from armillary.planning.planning import DIRECT, GUIDED
from armillary.proof.manifests import read_manifest
from armillary.services.failures import Failures, why_failed
from armillary.zoo.finding import find_model

LOCK = "act.lock"  # file of the folder, held while something acts there


@dataclass(frozen=True)
class ActConfig:
    """How a model is evaluated.

    Attributes:
        planning: how it decides.
        episodes: how many held-out episodes.
        task: goal task; None takes the world's first.
        seed: names the manifest.
        workers: processes; records do not depend on it.
        batch: episodes that are decided for at once, as in ``ModelSpec``.
        sub_goals: go to far goals over landmarks, where the model has some.
        world_settings: settings of the world beside its picture size; what they leave open is as
            the world wants it for evaluation (``spec.extra["evaluation"]``, e.g. held-out layouts).
        budget: world steps per episode; None for the task's own.
        success_distance: None for the task's own.
        on: ``ray`` for actors of Ray on this machine in place of processes, ``ray://HOST:PORT``
            for those of a cluster, whose machines share the model's folder.
    """

    planning: Planning = field(default_factory=Planning)
    episodes: int = 100
    task: str | None = None
    seed: int = 0
    workers: int = 2
    batch: int = 1
    sub_goals: bool = True
    world_settings: Mapping[str, Any] = field(default_factory=dict)
    budget: int | None = None
    success_distance: float | None = None
    on: str = ""


@dataclass(frozen=True)
class Acting:
    """The result: the manifest, records and row by policy name, and which planner acted.

    Of a model's failed episodes, also how many failed why; None where nothing failed.
    """

    manifest: Manifest
    records: Mapping[str, tuple[Record, ...]]
    rows: Mapping[str, Row]
    comparisons: Mapping[str, dict[str, Any]]
    planner: str = ""
    failures: Failures | None = None


def act(
    model: str | Path,
    world: str,
    out: Path,
    config: ActConfig | None = None,
    progress: Progress = silent,
) -> Acting:
    """Evaluate a model in a world, beside random, no-op and oracle on the same episodes.

    Args:
        model: model folder, run folder or Hub id.
        world: name of the world.
        out: folder for manifest, records and rows.
        config: how; None takes the defaults.
        progress: called after each episode of each policy.

    Raises:
        CheckpointError: not a model.
        ConfigError: an unknown world, task or planner, or ``out`` holds another evaluation.
        ShapeError: the model's actions or pictures are not the world's.
        StorageError: ``out`` cannot be written.
    """
    config = config or ActConfig()
    # whole, because actors of Ray have another working directory
    folder = find_model(model).absolute()
    spec = model_spec(folder, config)
    manifest, records = evaluate_models({"model": spec}, world, out, config, progress)
    failures = why_failed(records["model"], manifest, spec, progress=_share(progress, "why", 0, 1))
    return _summed_up(manifest, records, out, config, spec.chosen.planner, failures)


def claim_evaluation(model: Path, world: str, out: Path, config: ActConfig) -> None:
    """Check what ``act`` checks and write the manifest to ``out``, without running an episode.

    Args:
        model: folder of the model.
        world: name of the world.
        out: folder of the evaluation.
        config: how.

    Raises:
        ArmillaryError: as ``act``; or the records in ``out`` are of another model.
    """
    spec = model_spec(model, config)
    manifest = _checked_manifest({"model": spec}, world, _sized(spec, config))
    _claim(out, manifest)
    resume_records(out / "records" / "model.jsonl", manifest, spec.identity())


def act_with(
    policy: PolicyFactory,
    world: str,
    out: Path,
    config: ActConfig | None = None,
    progress: Progress = silent,
) -> Acting:
    """Evaluate any policy in a world, beside random, no-op and oracle on the same episodes.

    Args:
        policy: makes it from what the world promises; its row is called ``policy``.
        world: name of the world.
        out: folder for manifest, records and rows.
        config: episodes, task, world and workers; of planning nothing is read.
        progress: called after each episode of each policy.

    Raises:
        ConfigError: an unknown world or task, or ``out`` holds another evaluation.
        ShapeError: the policy sees what the world does not show.
        StorageError: ``out`` cannot be written.
    """
    config = config or ActConfig()
    return _summed_up(
        *evaluate_policies({"policy": policy}, world, out, config, progress), out, config
    )


def _summed_up(
    manifest: Manifest,
    records: Mapping[str, tuple[Record, ...]],
    out: Path,
    config: ActConfig,
    planner: str = "",
    failures: Failures | None = None,
) -> Acting:
    """Return rows and paired comparisons of the first policy with the others, and write them."""
    rows = {name: summarise(found) for name, found in records.items()}
    first, *others = records
    comparisons = {
        name: asdict(compare(records[first], records[name], generator("act.compare", config.seed)))
        for name in others
    }
    result = Acting(manifest, records, rows, comparisons, planner, failures)
    write_json(out / "rows.json", as_dict(result))
    return result


def as_dict(result: Acting) -> dict[str, Any]:
    """Return manifest hash, rows and comparisons as JSON values."""
    return {
        "manifest": result.manifest.sha256,
        "world": result.manifest.world,
        "task": result.manifest.task,
        "planner": result.planner,
        "rows": {name: row.to_dict() for name, row in result.rows.items()},
        f"{next(iter(result.rows))}_minus": result.comparisons,
        "failures": None if result.failures is None else asdict(result.failures),
    }


def model_spec(folder: Path, config: ActConfig) -> ModelSpec:
    """Return the policy of a model folder that decides as a config says.

    Raises:
        ConfigError: several episodes at once, with a goal policy, which decides for one at a time.
    """
    make = acting_spec if config.sub_goals else ModelSpec
    spec = make(folder, config.planning, batch=config.batch)
    if config.batch > 1 and spec.chosen.planner in (DIRECT, GUIDED):
        raise ConfigError(
            f"The planner {spec.chosen.planner} decides for one episode at a time. Leave --batch "
            "out, or search without the goal policy (--planner icem)."
        )
    return spec


def evaluate_models(
    models: Mapping[str, ModelSpec],
    world: str,
    out: Path,
    config: ActConfig,
    progress: Progress = silent,
) -> tuple[Manifest, dict[str, tuple[Record, ...]]]:
    """Evaluate models, and then random, no-op and oracle, on the episodes of one manifest.

    Args:
        models: by name; a record file of that name is written for each.
        world: name of the world; its pictures have the size of the first model's.
        out: folder for the manifest and the records; what is there already is kept.
        config: episodes, task, world and workers; how they decide is in ``models``.
        progress: called after each episode of each policy.

    Raises:
        ArmillaryError: as ``act``.
    """
    sized = _sized(next(iter(models.values())), config)
    return evaluate_policies(models, world, out, sized, progress)


def evaluate_policies(
    policies: Mapping[str, PolicyFactory],
    world: str,
    out: Path,
    config: ActConfig,
    progress: Progress = silent,
) -> tuple[Manifest, dict[str, tuple[Record, ...]]]:
    """Evaluate policies, and then random, no-op and oracle, on the episodes of one manifest.

    Args:
        policies: what makes each policy, by name; a record file of that name is written for each.
        world: name of the world.
        out: folder for the manifest and the records; what is there already is kept.
        config: episodes, task, world and workers; of planning nothing is read.
        progress: called after each episode of each policy.

    Raises:
        ArmillaryError: as ``act``.
    """
    address = ray_address(config.on) if config.on else None
    manifest = _checked_manifest(policies, world, config)
    floors = {"random": RandomSpec(), "noop": NoOpSpec(), "oracle": OracleSpec()}
    # two at once would write each episode twice
    with (
        alone_in(out, "evaluation", LOCK),
        connected(address, config.workers) if config.on else nullcontext(),
    ):
        _claim(out, manifest)
        return manifest, _run_all(manifest, {**policies, **floors}, config, address, out, progress)


def _sized(model: ModelSpec, config: ActConfig) -> ActConfig:
    """Return the config with pictures of the model's size, unless it names a size."""
    size = load_model(model.folder).config.encoder.image_size
    return replace(config, world_settings={"image_size": size, **config.world_settings})


def _checked_manifest(
    policies: Mapping[str, PolicyFactory], world: str, config: ActConfig
) -> Manifest:
    """Return the manifest of an evaluation, after checking that policies and world fit."""
    chosen = config.world_settings
    wishes = [_check_fit(policy, WorldFactory(world, chosen)) for policy in policies.values()]
    return make_manifest(
        world,
        config.task,
        config.episodes,
        config.seed,
        {**wishes[0], **chosen},
        budget=config.budget,
        success_distance=config.success_distance,
    )


def _check_fit(make: PolicyFactory, factory: WorldFactory) -> Mapping[str, Any]:
    """Meet whatever does not fit before anything is written; return the world's wishes."""
    world = factory()
    try:
        policy = make(world.spec)
        observes = () if isinstance(policy, Oracle) else policy.observes
        missing = set(observes) - {"intrinsics", *world.spec.sensors}
    finally:
        world.close()
    if missing:
        raise ShapeError(
            f"The policy needs {', '.join(sorted(missing))}, which {world.spec.name} does not "
            f"have. It has {', '.join(world.spec.sensors)}."
        )
    return world.spec.extra.get("evaluation", {})


def _claim(out: Path, manifest: Manifest) -> None:
    """Write the manifest, unless the folder belongs to another evaluation."""
    path = out / "manifest.json"
    if path.is_file() and read_manifest(path).sha256 != manifest.sha256:
        raise ConfigError(
            f"{out}: contains an evaluation with another world, task, number of episodes or seed. "
            "Choose another --out, or remove it."
        )
    manifest.save(path)


def _run_all(
    manifest: Manifest,
    policies: Mapping[str, Any],
    config: ActConfig,
    address: str | None,
    out: Path,
    progress: Progress,
) -> dict[str, tuple[Record, ...]]:
    records: dict[str, tuple[Record, ...]] = {}
    for place, (name, policy) in enumerate(policies.items()):
        bar = _share(progress, name, place, len(policies))
        file = out / "records" / f"{name}.jsonl"
        mend(file)
        if config.on:
            evaluate_on_ray(manifest, policy, file, address, config.workers, bar)
        else:
            evaluate(manifest, policy, workers=config.workers, progress=bar, out=file)
        # Rows come from what is on disk, so that anybody can compute them again.
        records[name] = read_records(file)
    return records


def _share(progress: Progress, name: str, place: int, places: int) -> Progress:
    def report(done: int, total: int, note: str = "") -> None:
        progress(place * total + done, places * total, f"{name}: {note}")

    return report

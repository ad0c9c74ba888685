"""Acting: a model's closed-loop evaluation with its floors and its ceiling, written to a folder.

    manifest.json           made before anything is run
    records/NAME.jsonl      one line per episode: model, random, noop, oracle
    rows.json               computed from the records alone, with paired tests against each other

A folder that holds records of the same evaluation is continued.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from armillary.control import (
    Manifest,
    ModelSpec,
    NoOpSpec,
    Oracle,
    OracleSpec,
    PriorSpec,
    RandomSpec,
    Record,
    Row,
    WorldFactory,
    compare,
    evaluate,
    load_manifest,
    make_manifest,
    read_records,
    summarise,
)
from armillary.control.evaluate import resume_records
from armillary.control.goal_policies import DirectSpec, GuidedSpec, has_goal_policy
from armillary.control.specs import PolicyFactory
from armillary.core.errors import ConfigError, ShapeError, unknown_name
from armillary.core.files import write_json
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.models import load_model
from armillary.planning import PLANNERS
from armillary.planning.experience import AdaptationConfig
from armillary.recipes.finding import find_model

NO_PLANNER = "none"
DIRECT, GUIDED, SEARCH = "direct", "guided", "icem"
# fields of ``ActConfig`` that only say how plans are made
_OF_PLANNING = (
    "planner_settings",
    "history",
    "replan",
    "summed",
    "batch",
    "proposals",
    "value_weight",
    "consensus",
    "together",
    "hold",
    "adapt",
)


@dataclass(frozen=True)
class ActConfig:
    """How a model is evaluated.

    Attributes:
        planner: ``direct``: the model's goal policy acts; ``guided``: a search around what it
            proposes; a key of ``PLANNERS``; ``none``: the goal prior's policy acts. Empty takes
            ``direct`` for a model with a goal policy, and ``icem`` for others.
        planner_settings: fields of the planner's config that differ from its default.
        episodes: how many held-out episodes.
        task: goal task; None takes the world's first.
        seed: names the manifest.
        workers: processes; records do not depend on it.
        history: model steps the predictor remembers.
        replan: model steps executed per decision.
        summed: the cost sums the distance over the plan; False takes that of its last state.
        batch: episodes that are decided for at once, as in ``ModelSpec``.
        world_settings: settings of the world beside its picture size; what they leave open is as
            the world wants it for evaluation (``spec.extra["evaluation"]``, e.g. held-out layouts).
        budget: world steps per episode; None for the task's own.
        success_distance: None for the task's own.
        prior: plan with the goal prior in the model's folder.
        proposals: plans of the prior that each decision tries first; without the prior, none.
        value_weight: of the prior's distance in the cost; without the prior, 0.
        consensus: looks that the present is taken from, as in ``ModelPolicy``.
        together: the goal and these looks are encoded as one scene, as in ``ModelSpec``.
        hold: plans hold one action for all world steps of a model step.
        adapt: how the policy learns from each episode while it runs; None for not at all.
        executed: without a planner, world steps of a model step that are taken before the next
            look, as in ``PriorPolicy``; None for all.
    """

    planner: str = ""
    planner_settings: Mapping[str, Any] = field(default_factory=dict)
    episodes: int = 100
    task: str | None = None
    seed: int = 0
    workers: int = 2
    history: int = 1
    replan: int = 1
    summed: bool = True
    batch: int = 1
    world_settings: Mapping[str, Any] = field(default_factory=dict)
    budget: int | None = None
    success_distance: float | None = None
    prior: bool = False
    proposals: int = ModelSpec.proposals
    value_weight: float = ModelSpec.value_weight
    consensus: int = 1
    together: bool = False
    hold: bool = False
    adapt: AdaptationConfig | None = None
    executed: int | None = None


@dataclass(frozen=True)
class Acting:
    """What came of it: the manifest, records and row by policy name, and which planner acted."""

    manifest: Manifest
    records: Mapping[str, tuple[Record, ...]]
    rows: Mapping[str, Row]
    comparisons: Mapping[str, dict[str, Any]]
    planner: str = ""


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
        progress: told after each episode of each policy.

    Raises:
        CheckpointError: not a model.
        ConfigError: an unknown world, task or planner, or ``out`` holds another evaluation.
        ShapeError: the model's actions or pictures are not the world's.
        StorageError: ``out`` cannot be written.
    """
    config = config or ActConfig()
    folder = find_model(model)
    found = evaluate_models({"model": actor_spec(folder, config)}, world, out, config, progress)
    return _summed_up(*found, out, config, planner_of(folder, config))


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
    spec = actor_spec(model, config)
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
        progress: told after each episode of each policy.

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
) -> Acting:
    """Return rows and paired comparisons of the first policy with the others, and write them."""
    rows = {name: summarise(found) for name, found in records.items()}
    first, *others = records
    comparisons = {
        name: asdict(compare(records[first], records[name], generator("act.compare", config.seed)))
        for name in others
    }
    result = Acting(manifest, records, rows, comparisons, planner)
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
    }


def headline(acting: Acting) -> dict[str, Any]:
    """Return the model's success with its interval, the floors beside it, and the manifest."""
    rows = {name: row.to_dict() for name, row in acting.rows.items()}
    row = rows.pop("model")
    return {
        "n": row["n"],
        "success": row["success"],
        "wilson95": row["wilson95"],
        "first_hit_success": row["first_hit_success"],
        "floors": {
            name: {key: other[key] for key in ("n", "success", "wilson95")}
            for name, other in rows.items()
        },
        "manifest": acting.manifest.sha256,
    }


ActorSpec = ModelSpec | PriorSpec | DirectSpec | GuidedSpec


def planner_of(folder: Path, config: ActConfig) -> str:
    """Return which planner acts: the one that is asked for, or what fits the model and config."""
    if config.planner:
        return config.planner
    searched = {"prior", *_OF_PLANNING} - {"batch"}  # how many at once says nothing about how
    asked = any(getattr(config, name) != _default(name) for name in searched)
    return SEARCH if asked or not has_goal_policy(folder) else DIRECT


def actor_spec(folder: Path, config: ActConfig) -> ActorSpec:
    """Return the policy that plans through a model folder as a config says, or follows its prior.

    Raises:
        ConfigError: an unknown planner; or no search, and the prior is not asked for, or something
            that only a search would heed is.
    """
    config = replace(config, planner=planner_of(folder, config))
    if config.planner in (DIRECT, GUIDED):
        return _by_goal_policy(folder, config)
    if config.planner == NO_PLANNER:
        if not config.prior:
            raise ConfigError(
                "--planner none needs --prior, as the goal-conditioned policy acts then. Add "
                "--prior, or choose a planner."
            )
        if unused := [name for name in _OF_PLANNING if getattr(config, name) != _default(name)]:
            raise ConfigError(
                f"Without a planner, {', '.join(unused)} has no effect. Leave it out, or choose a "
                "planner."
            )
        return PriorSpec(folder, config.executed)
    if config.executed is not None:
        raise ConfigError(
            "--executed is for --planner none. With a planner, use --replan, in model steps."
        )
    if config.planner not in PLANNERS:
        raise unknown_name("planner", config.planner, [*PLANNERS, DIRECT, GUIDED, NO_PLANNER])
    return model_spec(folder, config)


def _by_goal_policy(folder: Path, config: ActConfig) -> DirectSpec | GuidedSpec:
    """Return the policy that follows a goal policy, or searches around it.

    Raises:
        ConfigError: a setting that has no effect on it.
    """
    searched = ("planner_settings", "replan", "batch", "proposals")
    heeded = searched if config.planner == GUIDED else ()
    names = (*_OF_PLANNING, "executed", "prior")
    unused = [n for n in names if n not in heeded and getattr(config, n) != _default(n)]
    unused = [n for n in unused if n != "batch"]  # without a search there is nothing to batch
    if unused:
        raise ConfigError(
            f"With --planner {config.planner}, {', '.join(unused)} has no effect. Leave it out, or "
            "choose another planner."
        )
    if config.planner == DIRECT:
        return DirectSpec(folder)
    return GuidedSpec(
        folder, config.planner_settings, config.proposals, config.replan, config.batch
    )


def _default(name: str) -> Any:
    return getattr(ActConfig(), name)


def model_spec(folder: Path, config: ActConfig) -> ModelSpec:
    """Return the policy that plans through a model folder as a config says."""
    return ModelSpec(
        folder,
        planner=config.planner or SEARCH,
        planner_settings=config.planner_settings,
        history=config.history,
        replan=config.replan,
        summed=config.summed,
        consensus=config.consensus,
        together=config.together,
        hold=config.hold,
        adapt=config.adapt,
        batch=config.batch,
        prior=config.prior,
        proposals=config.proposals,
        value_weight=config.value_weight,
    )


def evaluate_models(
    models: Mapping[str, ActorSpec],
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
        config: episodes, task, world and workers; the planning is in ``models``.
        progress: told after each episode of each policy.

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
        progress: told after each episode of each policy.

    Raises:
        ArmillaryError: as ``act``.
    """
    manifest = _checked_manifest(policies, world, config)
    _claim(out, manifest)
    floors = {"random": RandomSpec(), "noop": NoOpSpec(), "oracle": OracleSpec()}
    return manifest, _run_all(manifest, {**policies, **floors}, config.workers, out, progress)


def _sized(model: ActorSpec, config: ActConfig) -> ActConfig:
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
    if path.is_file() and load_manifest(path).sha256 != manifest.sha256:
        raise ConfigError(
            f"{out}: contains an evaluation with another world, task, number of episodes or seed. "
            "Choose another --out, or remove it."
        )
    manifest.save(path)


def _run_all(
    manifest: Manifest,
    policies: Mapping[str, Any],
    workers: int,
    out: Path,
    progress: Progress,
) -> dict[str, tuple[Record, ...]]:
    records: dict[str, tuple[Record, ...]] = {}
    for place, (name, policy) in enumerate(policies.items()):
        told = _share(progress, name, place, len(policies))
        file = out / "records" / f"{name}.jsonl"
        evaluate(manifest, policy, workers=workers, progress=told, out=file)
        # Rows come from what is on disk, so that anybody can compute them again.
        records[name] = read_records(file)
    return records


def _share(progress: Progress, name: str, place: int, places: int) -> Progress:
    def told(done: int, total: int, note: str = "") -> None:
        progress(place * total + done, places * total, f"{name}: {note}")

    return told

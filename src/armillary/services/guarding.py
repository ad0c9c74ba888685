"""Guarding: calibrate a guard for a model's policy, and measure it where things go wrong.

    guard.json              the guard: act under it with ``GuardedSpec``
    calibration/, normal/, teleport/, stuck/, camera/
                            manifest.json (made before anything is run) and records.jsonl
    results.json            rates, computed from the records

Normal episodes are run under the guard and stop for good where it says so. Perturbed ones go on
after the alarm, which is on record, so that other judges can be measured on the same episodes:
the whole latent's surprise, copy-last and the change of pixels, each with a limit of its own from
the same calibration episodes and the same bound.

An event is caught when the alarm comes between it and ``within`` steps after the first step that
can show it. A stuck actuator shows when a step is commanded that is at least ``least_action`` of
the largest action; episodes in which none is are counted apart.

A folder that holds records of the same study is continued.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import provenance
from armillary.core.errors import ConfigError
from armillary.core.files import write_json
from armillary.core.progress import Progress, silent
from armillary.core.values import WorldSpec
from armillary.evaluation import (
    Manifest,
    ModelSpec,
    WorldFactory,
    evaluate,
    make_manifest,
    read_records,
)
from armillary.evaluation.specs import identity_of
from armillary.evaluation.sub_goals import acting_spec
from armillary.models import load_model
from armillary.monitoring import Guard, GuardedSpec, fit_normal, save_guard, set_limits
from armillary.monitoring.calibration import check_calibration
from armillary.monitoring.rewatch import Eyes, Watched, rewatch, watch_exploring
from armillary.monitoring.watching import Seen
from armillary.planning import Planning
from armillary.proof.manifests import read_manifest
from armillary.services.guard_result import Rules, Run, other_judges, study_result
from armillary.worlds.perturbed import possible_kinds
from armillary.zoo.finding import find_model

_SETTLED = 10  # steps of a perturbed episode after the last that may be the first to show it


@dataclass(frozen=True)
class GuardConfig:
    """How to calibrate and measure.

    Attributes:
        episodes: normal ones, and of each perturbation.
        calibration: normal episodes of the same policy that set the limits.
        exploring: episodes of the world's exploring policy that say what is normal.
        false_alarms: share of normal episodes that may alarm, at most; None for the smallest that
            this many calibration episodes can promise.
        within: steps in which an event must be caught.
        least_action: what shows a stuck actuator, as a share of the largest action.
        latest: last step that may be the first to show an event.
        history: most model steps that the guard's model sees.
        planning: how the model decides.
        task: as in ``act``.
        budget: world steps of a normal episode; None for the task's own.
        seed: names everything; calibration and measurement take different episodes.
        workers: processes; the result does not depend on it.
        world_settings: of the world.
    """

    episodes: int = 100
    calibration: int = 399
    exploring: int = 200
    false_alarms: float | None = 0.01
    within: int = 5
    least_action: float = 0.25
    latest: int = 10
    history: int = 4
    planning: Planning = field(default_factory=Planning)
    task: str | None = None
    budget: int | None = None
    seed: int = 0
    workers: int = 2
    world_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        least = {"episodes": 1, "calibration": 1, "exploring": 1, "within": 1, "workers": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ConfigError(f"{name} must be at least {bound}; got {getattr(self, name)}.")

    @property
    def share(self) -> float:
        """The share of normal episodes that may alarm."""
        return 1 / (self.calibration + 1) if self.false_alarms is None else self.false_alarms


def guard_study(
    model: str | Path,
    world: str,
    out: Path,
    config: GuardConfig | None = None,
    progress: Progress = silent,
    command: str = "",
) -> dict[str, Any]:
    """Calibrate a guard, measure its false alarms and what it catches, and write both down.

    Args:
        model: model folder, run folder or Hub id.
        world: name of the world.
        out: folder.
        config: how; None takes the defaults.
        progress: called after each episode of each stage.
        command: that makes these numbers again, for ``results.json``.

    Returns:
        What ``results.json`` holds.

    Raises:
        CheckpointError: not a model.
        ConfigError: an unknown world, task or planner, too few calibration episodes, or ``out``
            holds another study.
        ShapeError: the model's actions or pictures are not the world's.
        StorageError: ``out`` cannot be written.
    """
    config = config or GuardConfig()
    check_calibration(config.calibration, config.share)
    study = _Study.of(find_model(model), world, out, config, progress)
    first = study.manifest(config.calibration, 0)
    exploring = [one.seen for one in study.explore(first.budget)]
    calm = [one.seen for one in study.run("calibration", first, study.policy).watched]
    guard = study.calibrate(exploring, calm)
    others = other_judges(exploring, calm, guard.false_alarms)
    stopping = GuardedSpec(study.policy, out / "guard.json", "stop")
    normal = study.run("normal", study.manifest(config.episodes, 1), stopping)
    noting = GuardedSpec(study.policy, out / "guard.json", "note")
    perturbed = {
        kind: study.run(kind, study.perturbed(kind, first.budget), noting) for kind in study.kinds
    }
    rules = Rules(study.spec.bounds, study.frame_skip, config.within, config.least_action)
    result = {
        "world": world,
        "task": config.task or study.spec.tasks[0],
        "exploring_episodes": config.exploring,
        **study_result(guard, others, normal, perturbed, rules),
        **provenance(command, config.workers),
    }
    write_json(out / "results.json", result)
    return result


@dataclass(frozen=True)
class _Study:
    """What all stages share."""

    policy: ModelSpec
    world: str
    settings: Mapping[str, Any]
    out: Path
    config: GuardConfig
    progress: Progress
    kinds: tuple[str, ...]
    spec: WorldSpec
    frame_skip: int

    @classmethod
    def of(
        cls, folder: Path, world: str, out: Path, config: GuardConfig, progress: Progress
    ) -> _Study:
        policy = acting_spec(folder, config.planning)
        size = load_model(folder).config.encoder.image_size
        settings = {"image_size": size, **config.world_settings}
        first = WorldFactory(world, settings)()
        try:
            skip, kinds = policy(first.spec).frame_skip, possible_kinds(first)
        finally:
            first.close()
        # as the world wants it for evaluation, e.g. layouts that no training saw
        settings = {**first.spec.extra.get("evaluation", {}), **settings}
        return cls(policy, world, settings, out, config, progress, kinds, first.spec, skip)

    def manifest(self, episodes: int, place: int) -> Manifest:
        """Return normal episodes; every place draws others."""
        seed = 4 * self.config.seed + place
        config = self.config
        return make_manifest(self.world, config.task, episodes, seed, self.settings, config.budget)

    def perturbed(self, kind: str, longest: int) -> Manifest:
        """Return episodes in which one thing goes wrong; they end soon after the last event."""
        config = self.config
        settings = {"base": self.world, "kind": kind, "latest": config.latest, **self.settings}
        seed, budget = 4 * config.seed + 2, min(config.latest + _SETTLED, longest)
        return make_manifest("perturbed", config.task, config.episodes, seed, settings, budget)

    def explore(self, steps: int) -> list[Watched]:
        """Watch normal life in all its variety."""
        config, bar = self.config, _named(self.progress, "exploring")
        eyes = Eyes(WorldFactory(self.world, self.settings), self.policy, config.history)
        return watch_exploring(eyes, config.exploring, steps, config.seed, config.workers, bar)

    def calibrate(self, exploring: Sequence[Seen], calm: Sequence[Seen]) -> Guard:
        """Return the guard, and write it down."""
        config, normal = self.config, fit_normal(exploring)
        policy = identity_of(self.policy)
        guard = set_limits(normal, calm, config.share, config.history, policy)
        save_guard(guard, self.out / "guard.json")
        return guard

    def run(self, name: str, manifest: Manifest, policy: ModelSpec | GuardedSpec) -> Run:
        """Run a manifest's episodes, unless they are on record, and watch them again."""
        folder, workers = self.out / name, self.config.workers
        _claim(folder / "manifest.json", manifest)
        file, bar = folder / "records.jsonl", _named(self.progress, name)
        evaluate(manifest, policy, workers=workers, progress=bar, out=file)
        whole = tuple(r for r in read_records(file) if r.outcome in ("success", "failure"))
        world = WorldFactory(manifest.world, manifest.settings)
        eyes = Eyes(world, self.policy, self.config.history)
        watched = rewatch(whole, eyes, workers, _named(self.progress, f"{name}, watched again"))
        return Run(whole, watched)


def _claim(path: Path, manifest: Manifest) -> None:
    """Write a manifest, unless the folder belongs to another study."""
    if path.is_file() and read_manifest(path).sha256 != manifest.sha256:
        raise ConfigError(
            f"{path.parent}: contains a study with another world, task, number of episodes or "
            "seed. Choose another --out, or remove it."
        )
    manifest.save(path)


def _named(progress: Progress, name: str) -> Progress:
    def bar(done: int, total: int, note: str = "") -> None:
        progress(done, total, f"{name}: {note}" if note else name)

    return bar

"""Latency: success against milliseconds per decision, for several ways to plan with one model.

    manifest.json           one list of episodes for all settings: the comparison is paired
    records/NAME.jsonl      one file per setting, beside random, noop and oracle
    latency.json            a row per setting, computed from the records alone
    latency.html            the same as a picture

A folder that holds records of the same settings is continued.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import provenance
from armillary.core.errors import ConfigError
from armillary.core.files import write_json
from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.core.statistics import holm
from armillary.evaluation import Manifest, Record, Row, compare, summarise
from armillary.experiments.latency.page import latency_page
from armillary.models import load_model
from armillary.planning import PLANNERS, Planning
from armillary.planning.planning import GUIDED
from armillary.report import write_report
from armillary.services.acting import ActConfig, evaluate_models, model_spec
from armillary.zoo.finding import find_model

_FLOORS = ("random", "noop", "oracle")


@dataclass(frozen=True)
class Setting:
    """One way to plan.

    Attributes:
        model: model folder, run folder or Hub id.
        config: planner, its settings, replan and history; the rest is the study's.
        series: settings of one series are joined by a line in the picture.
    """

    model: str | Path
    config: ActConfig
    series: str = ""


def grid(
    models: Sequence[str | Path],
    config: ActConfig,
    samples: Sequence[int],
    replans: Sequence[int],
) -> dict[str, Setting]:
    """Return a setting for every model, replan interval and number of candidates.

    Args:
        models: what to plan with; models that were trained with other action repetitions
            (``frame_skip``) can stand side by side.
        config: everything else.
        samples: candidate plans per round; the elites follow in proportion.
        replans: model steps that are executed per decision. A guided search decides at every
            world step, whatever they are.

    Raises:
        ConfigError: a planner without samples, no setting, or one that cannot be.
    """
    settings: dict[str, Setting] = {}
    guided = config.planning.planner == GUIDED
    for place, model in enumerate(models):
        of_model = f"model-{place + 1}-" if len(models) > 1 else ""
        for every in (1,) if guided else replans:
            interval = "" if guided else f"-replan-{every}"
            series = "every world step" if guided else f"replan every {every}"
            for count in samples:
                chosen = _with_samples(config.planning, count)
                planning = replace(config.planning, replan=every, settings=chosen)
                name = f"{of_model}{planning.planner}-samples-{count}{interval}"
                one = replace(config, planning=planning)
                settings[name] = Setting(model, one, of_model + series)
    if not settings:
        raise ConfigError("A study of latency needs a model, a replan interval and samples.")
    return settings


def _with_samples(planning: Planning, count: int) -> dict[str, Any]:
    if planning.planner == GUIDED:
        return {**planning.settings, "samples": count}
    if planning.planner not in PLANNERS:
        raise ConfigError(
            f"A study of latency compares searches: {GUIDED}, {', '.join(PLANNERS)}; got "
            f"{planning.planner or 'no planner'!r}."
        )
    usual = PLANNERS[planning.planner].Config()
    chosen = {**planning.settings, "samples": count}
    if hasattr(usual, "elites") and "elites" not in chosen:
        chosen["elites"] = max(2, round(usual.elites * count / usual.samples))
    return chosen


def latency_study(
    settings: Mapping[str, Setting],
    world: str,
    out: Path,
    config: ActConfig | None = None,
    progress: Progress = silent,
    command: str = "",
) -> dict[str, Any]:
    """Evaluate every setting on the same episodes and write rows and a page.

    Args:
        settings: by name, which also names the record file. The first is what the others are
            compared with.
        world: name of the world.
        out: folder for everything.
        config: episodes, task, seed, world and workers; None takes the defaults.
        progress: called after each episode.
        command: what to type to do it again; stands on the page.

    Returns:
        What stands in ``latency.json``: ``settings.NAME`` with success, its Wilson interval,
        ``ms_per_decision``, ``ms_per_world_step``, ``model_steps_per_decision`` and the paired
        comparison with the first; ``beside.{random,noop,oracle}``; world and manifest,
        and ``command``, ``commit``, ``date``, ``machine``.

    Raises:
        ConfigError: no settings, or as in ``act``.
        ArmillaryError: as ``act``.
    """
    if not settings or set(settings) & set(_FLOORS):
        raise ConfigError(
            f"At least one setting is needed, with a name other than {', '.join(_FLOORS)}."
        )
    config = config or ActConfig()
    origin = provenance(command, 1)
    specs = {name: model_spec(find_model(s.model), s.config) for name, s in settings.items()}
    manifest, records = evaluate_models(specs, world, out, config, progress)
    value = {
        **_about(manifest, config),
        **origin,
        "settings": _rows(settings, records, config.seed),
        "beside": {name: summarise(records[name]).to_dict() for name in _FLOORS},
    }
    write_json(out / "latency.json", value)
    write_report(latency_page(value), out / "latency.html")
    return value


def _about(manifest: Manifest, config: ActConfig) -> dict[str, Any]:
    return {
        "world": manifest.world,
        "task": manifest.task,
        "episodes": len(manifest.episodes),
        "success_distance": manifest.success_distance,
        "distance_unit": manifest.distance_unit,
        "manifest": manifest.sha256,
        "workers": config.workers,
    }


def _rows(
    settings: Mapping[str, Setting], records: Mapping[str, tuple[Record, ...]], seed: int
) -> dict[str, dict[str, Any]]:
    first = next(iter(settings))
    rows = {name: _row(s, records[name]) for name, s in settings.items()}
    others = [name for name in settings if name != first]
    found = {
        name: compare(records[name], records[first], generator("latency.compare", seed))
        for name in others
    }
    adjusted = holm([found[name].mcnemar.p_value for name in others])
    for name, p_holm in zip(others, adjusted, strict=True):
        rows[name]["minus_first"] = {
            "first": first,
            "difference": found[name].difference,
            "bootstrap95": list(found[name].bootstrap95),
            "only_this": found[name].mcnemar.only_a,
            "only_first": found[name].mcnemar.only_b,
            "p_holm": p_holm,
        }
    return rows


def _row(setting: Setting, records: tuple[Record, ...]) -> dict[str, Any]:
    row: Row = summarise(records)
    spent = sum(sum(record.ms_per_decision) for record in records)
    kept = ("n", "success", "wilson95", "first_hit_success", "ms_per_decision")
    kept += ("ms_per_decision_p95", "model_steps_per_decision", "crashes", "timeouts")
    every = row.to_dict()
    return {
        "series": setting.series,
        "model": str(setting.model),
        "frame_skip": load_model(find_model(setting.model)).config.frame_skip,
        "planner": setting.config.planning.planner,
        "planner_settings": dict(setting.config.planning.settings),
        "replan": setting.config.planning.replan,
        **{name: every[name] for name in kept},
        "ms_per_world_step": spent / max(sum(record.steps for record in records), 1),
    }

"""Demo: the whole story on this machine, in minutes.

    record -> train -> probe -> surprise -> act -> report

Everything is made anew in ``out``; nothing of an earlier demo is reused. What decides the numbers
is in ``DemoConfig``, and ``quick`` is the same story with too little of everything.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from armillary.benchmark.machine import date, provenance
from armillary.core.cores import core_count
from armillary.core.errors import ConfigError
from armillary.core.files import read_json, storage_errors, write_json
from armillary.core.progress import Bars, Progress, no_bars
from armillary.data import Cache, Windows, open_dataset, prepare, split_episodes
from armillary.experiments.demo.config import DemoConfig
from armillary.experiments.demo.page import write_page
from armillary.models import JEPA, load_model, untrained
from armillary.recipes.goal_policy import learn_to_act
from armillary.recipes.recipe import fitted, train_on
from armillary.recipes.world import adapted
from armillary.report import ResultGroup
from armillary.services.acting import act
from armillary.training import TrainSummary
from armillary.understanding import calibrate, probe_suite, teleport_study
from armillary.understanding.suites.teleport import TeleportStudy
from armillary.worlds import record

Say = Callable[[str], None]

_MARKER = "demo.json"
_CALIBRATION_CLIPS = 160


@dataclass(frozen=True)
class DemoResults:
    """The result of a demo: the numbers as in results.json, and its table."""

    numbers: dict[str, Any]
    table: tuple[ResultGroup, ...]
    page: Path


def run_demo(
    out: Path,
    config: DemoConfig | None = None,
    warning: str = "",
    say: Say = lambda _: None,
    bars: Bars = no_bars,
) -> DemoResults:
    """Record, train, probe, surprise, act and report, into ``out``.

    Args:
        out: folder; an earlier demo in it is replaced, anything else is refused.
        config: how much of everything.
        warning: shown above the page and kept in the results, e.g. that numbers mean nothing.
        say: called with a sentence about what happens.
        bars: makes a progress bar for a stage.

    Raises:
        ConfigError: ``out`` holds something that is not a demo.
        StorageError: ``out`` is not writable, or the disk is full.
    """
    config = config or DemoConfig()
    _claim(out, say)
    clock = _Clock(say, bars)
    with clock.stage("record", "recording") as progress:
        data = _record(out, config, progress)
    with clock.stage("train", "training") as progress:
        cache, (training, held_out) = _prepare(out, data, config)
        recipe = fitted(adapted(config.recipe, open_dataset(data)), cache)
        summary = train_on(cache, training, held_out, recipe, out / "run", progress=progress)
        failed = learn_to_act(cache, training, held_out, recipe, out / "run", bars)
        if failed:
            say(failed)
    model = load_model(out / "run" / "model")
    with clock.stage("probe", "probing"):
        probes = _probe(model, cache, training, held_out, config)
    with clock.stage("surprise", "surprising"):
        study = _surprise(model, cache, held_out, config)
    with clock.stage("act", "acting") as progress:
        rows = _act(out, config, progress)
    with clock.stage("report", "drawing"):
        numbers = _numbers(rows, probes, study, summary, clock.seconds, warning)
        write_json(out / "results.json", numbers)
        table = write_page(out, numbers, study, model, cache, training, held_out, config)
    return DemoResults(numbers, table, out / "report.html")


class _Clock:
    """Says what begins, and how long it took."""

    def __init__(self, say: Say, bars: Bars) -> None:
        self.seconds: dict[str, float] = {}
        self._say, self._bars = say, bars
        self._began = time.perf_counter()

    @contextmanager
    def stage(self, name: str, doing: str) -> Iterator[Progress]:
        began = time.perf_counter()
        with self._bars(doing) as progress:
            yield progress
        now = time.perf_counter()
        self.seconds[name] = round(now - began, 1)
        self.seconds["total"] = round(now - self._began, 1)
        self._say(f"{name}: {now - began:.0f} s")


def _claim(out: Path, say: Say) -> None:
    with storage_errors(out):
        if (out / _MARKER).is_file():
            made = read_json(out / _MARKER).get("date", "unknown date")
            say(f"{out}: the demo of {made} is replaced.")
            shutil.rmtree(out)
        elif out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(
                f"{out}: contains something that is not a demo. Choose another --out, or empty it."
            )
        out.mkdir(parents=True, exist_ok=True)
    write_json(out / _MARKER, {"date": date()})


def _record(out: Path, config: DemoConfig, progress: Progress) -> Path:
    data = out / "recording"
    record(
        "tabletop",
        data,
        config.episodes,
        config.steps,
        workers=core_count(),
        seed=config.seed,
        progress=progress,
    )
    return data


def _prepare(
    out: Path, data: Path, config: DemoConfig
) -> tuple[Cache, tuple[np.ndarray, np.ndarray]]:
    size = config.recipe.model.encoder.image_size
    cache = prepare(open_dataset(data), size, cache_root=out / "cache")
    return cache, split_episodes(cache.num_episodes, config.recipe.held_out, config.seed)


def _probe(
    model: JEPA, cache: Cache, training: np.ndarray, held_out: np.ndarray, config: DemoConfig
) -> dict[str, dict]:
    first = untrained(model.config, config.recipe.seed)
    first.normalizer.load_state_dict(model.normalizer.state_dict())
    return probe_suite(model, first.eval(), cache, training, held_out, seed=config.seed)


def _surprise(model: JEPA, cache: Cache, held_out: np.ndarray, config: DemoConfig) -> TeleportStudy:
    """Calibrate on held-out recorded clips, then judge clips of scenes never seen."""
    normal = Windows(cache, held_out, config.steps)
    some = np.linspace(0, len(normal) - 1, min(_CALIBRATION_CLIPS, len(normal))).astype(np.int64)
    calibration = calibrate(model, normal.gather(some))
    # another seed than the one that the surprise score was developed on
    return teleport_study(model, calibration, config.teleports, config.seed + 1)


def _act(out: Path, config: DemoConfig, progress: Progress) -> dict[str, dict[str, Any]]:
    """Evaluate both tasks: rows by actor for reach, and the same under ``push``."""
    rows: dict[str, dict[str, Any]] = {}
    episodes = {"reach": config.act.episodes, "push": config.push_episodes}
    for task, count in episodes.items():
        settings = replace(
            config.act, task=task, episodes=count, seed=config.seed, workers=core_count()
        )
        found = act(out / "run", "tabletop", out / "act" / task, settings, progress)
        rows[task] = {name: row.to_dict() for name, row in found.rows.items()}
    return rows


def _numbers(
    rows: dict[str, dict[str, Any]],
    probes: dict[str, dict],
    study: TeleportStudy,
    summary: TrainSummary,
    seconds: dict[str, float],
    warning: str,
) -> dict[str, Any]:
    return {
        "act": {**rows["reach"], "push": rows["push"]},
        "probe": probes,
        "surprise": {"teleport": study.scores},
        "training": {
            "steps": summary.steps,
            "frames_per_s": round(summary.frames_per_s),
            "held_out": summary.held_out,
            "warnings": list(summary.warnings),
        },
        "seconds": dict(seconds),
        **provenance("armillary demo" + (" --quick" if warning else ""), core_count()),
        "warning": warning,
    }

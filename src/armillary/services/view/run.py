"""The page about a training run: curves and warnings, from ``run.json`` and ``log.jsonl``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from armillary.benchmark.machine import date
from armillary.core.errors import FormatError
from armillary.core.files import read_json
from armillary.report import Chart, Curve, ReportContents
from armillary.training import read_log

_NOT_TERMS = ("train/loss", "train/grad_norm", "train/lr", "train/samples_per_s")
_PER_CHART = 4

Log = Sequence[Mapping[str, Any]]


def run_page(path: Path) -> ReportContents:
    """Return the page about a run, finished or not.

    Raises:
        FormatError: it has no log yet, or ``run.json`` is damaged.
    """
    settings, log = read_json(path / "run.json"), _read(path / "log.jsonl")
    steps = max(int(entry["step"]) for entry in log)
    wanted = _at(settings, "train", "steps")
    if isinstance(wanted, int):
        finetune = _at(settings, "train", "settling")
        more = finetune.get("steps") if isinstance(finetune, dict) else 0
        wanted += more if isinstance(more, int) else 0
    warnings = [entry["warnings"] for entry in log if "latent/effective_rank" in entry][-1:]
    return ReportContents(
        title=f"Run {path.resolve().name}",
        summary=f"{steps:,} of {wanted:,} updates taken"
        if isinstance(wanted, int)
        else f"{steps:,} updates taken",
        results=(),
        machine={},
        date=date(),
        command=f"armillary view {path}",
        warning=" ".join(warnings[0]) if warnings else "",
        charts=_charts(log),
        facts=_facts(path, settings, log),
    )


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the entries that have a step, with a list of warnings in each."""
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file; the run has not logged anything yet.")
    log = [entry for entry in read_log(path) if isinstance(entry, dict)]
    log = [e for e in log if isinstance(e.get("step"), int) and _is_number(e["step"])]
    if not log:
        raise FormatError(f"{path}: holds no entry; the run has not logged anything yet.")
    return [{**entry, "warnings": _texts(entry.get("warnings"))} for entry in log]


def _texts(value: Any) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []


def _charts(log: Log) -> tuple[Chart, ...]:
    names = list(dict.fromkeys(name for entry in log for name in entry))
    terms = [n for n in names if n.startswith("train/") and n not in _NOT_TERMS]
    held_out = [name for name in names if name.startswith("eval/")]
    spread = ["latent/least_spread", "latent/mean_spread", "latent/motion_share"]
    charts = [
        *_chart(log, "Loss, weighted", ["train/loss"], log_y=True),
        *_chart(log, "Loss terms, unweighted", terms, log_y=True),
        *_chart(log, "Loss terms on held-out episodes", held_out, log_y=True),
        *_chart(log, "Effective rank of the latent", ["latent/effective_rank"]),
        *_chart(log, "Spread of the latent", spread),
        *_chart(log, "Learning rate", ["train/lr"]),
        *_chart(log, "Norm of the gradient", ["train/grad_norm"], log_y=True),
        *_chart(log, "Clips per second", ["train/samples_per_s"]),
    ]
    return tuple(charts)


def _chart(log: Log, title: str, names: Sequence[str], log_y: bool = False) -> list[Chart]:
    """Return charts of at most four curves each, so that colours stay apart."""
    curves = [curve for name in names if len((curve := _curve(log, name)).x)]
    groups = [curves[k : k + _PER_CHART] for k in range(0, len(curves), _PER_CHART)]
    parts = [
        f" ({k} of {len(groups)})" if len(groups) > 1 else "" for k in range(1, 1 + len(groups))
    ]
    return [
        Chart(title + part, tuple(group), y_label=_label(group), log_y=log_y)
        for part, group in zip(parts, groups, strict=True)
    ]


def _curve(log: Log, name: str) -> Curve:
    points = [(e["step"], e[name]) for e in log if _is_number(e.get(name))]
    steps, values = np.array(points, np.float64).reshape(-1, 2).T
    return Curve(_short(name), steps, values)


def _is_number(value: Any) -> bool:
    """Tell whether a value fits a float: whole numbers in JSON may be of any length."""
    if isinstance(value, int):
        return abs(value) <= sys.float_info.max
    return isinstance(value, float)


def _label(curves: Sequence[Curve]) -> str:
    return curves[0].name if len(curves) == 1 else ""


def _short(name: str) -> str:
    return name.partition("/")[2].replace("_", " ") if "/" in name else name


def _facts(path: Path, settings: Any, log: Log) -> dict[str, str]:
    sensors = _at(settings, "model", "sensors")
    width = _at(settings, "model", "action_width")
    batch, length = (_at(settings, "train", name) for name in ("batch_size", "clip_length"))
    tokens, channels = (_at(settings, "model", "encoder", name) for name in ("tokens", "width"))
    losses = _curve(log, "train/loss").y
    warned = [entry["step"] for entry in log if entry["warnings"]]
    finished = (path / "model" / "config.json").is_file()
    return {
        "sees": ", ".join(map(str, sensors)) if isinstance(sensors, list) else "unknown",
        "latent": f"{tokens} tokens of {channels}",
        "actions": f"{width} numbers per model step" if width else "none: plain video",
        "batch": f"{batch} clips of {length} steps",
        "last loss": f"{losses[-1]:.4g}" if len(losses) else "not logged yet",
        "warnings": f"in {len(warned)} of {len(losses)} log entries, last at update {warned[-1]:,}"
        if warned
        else "none",
        "model": "model/" if finished else "none yet; continue the run with --resume",
    }


def _at(value: Any, *names: str) -> Any:
    """Return what stands at a path of keys in JSON, or "unknown"."""
    for name in names:
        value = value.get(name, "unknown") if isinstance(value, dict) else "unknown"
    return value

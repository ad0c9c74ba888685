"""Understanding, several seeds: every one of them is shown, and none is chosen.

NAME/result.json    of each model, as ``understand_model`` writes it
result.json         all seeds, and means over them
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from armillary.benchmark.machine import provenance
from armillary.core.errors import ConfigError
from armillary.core.files import write_json
from armillary.core.progress import Bars, no_bars
from armillary.services.understand.study import UnderstandConfig, understand_model
from armillary.understanding.suites.quadruplets import mean_headline


def understand_seeds(
    models: Sequence[str],
    out: Path,
    config: UnderstandConfig | None = None,
    bars: Bars = no_bars,
    command: str = "",
) -> dict[str, Any]:
    """Ask several models, which differ in their seed, the same.

    The controls, which are the same for all, are asked with the first one alone.

    Args:
        models: model folders, run folders or Hub ids.
        out: folder.
        config: as in ``understand_model``.
        bars: makes a progress bar for a stage.
        command: that makes these numbers again.

    Returns:
        What ``result.json`` holds.

    Raises:
        ConfigError: two of them bear the same name.
    """
    config = config or UnderstandConfig()
    names = [Path(model).name for model in models]
    if len(set(names)) < len(names):
        raise ConfigError(f"The models need different names; got {', '.join(names)}.")
    seeds = []
    for place, (name, model) in enumerate(zip(names, models, strict=True)):
        own = config if place == 0 else replace(config, controls=0)
        found = understand_model(model, out / name, own, bars)
        seeds.append({"model": name, **found})
    result = {**combined(seeds), **provenance(command, 2)}
    write_json(out / "result.json", result)
    return result


def combined(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return all seeds' results, and their means.

    A concept counts in the headline where it does for every seed. All seeds are asked the same, so
    the error of FRESH minus TEST is not divided by their number.
    """
    first = seeds[0]
    headline = [
        name
        for name in first["concepts"]
        if all(seed["concepts"][name]["headline"] for seed in seeds)
    ]
    means, plain = (
        {
            name: float(np.mean([seed["concepts"][name][kind] for seed in seeds]))
            for name in first["concepts"]
        }
        for kind in ("d_accuracy", "plain_d_accuracy")
    )
    shared = ("controls", "rule", "rule_sha256", "suite_sha256", "counts")
    gaps = [seed["fresh_minus_test"] for seed in seeds]
    hidden = [seed["hidden_position"] for seed in seeds]
    kept = [
        {
            key: value
            for key, value in seed.items()
            if key not in (*shared, "shown", "command", "commit", "date", "machine")
        }
        for seed in seeds
    ]
    for seed in kept:
        for name, row in seed["concepts"].items():
            row["headline"] = name in headline
        seed["mean_headline"] = mean_headline(seed["concepts"])
    return {
        "seeds": kept,
        **{key: first[key] for key in shared},
        "concepts": means,
        "plain_concepts": plain,
        "mean_headline": float(np.mean([means[name] for name in headline])) if headline else None,
        "single_clips": {
            key: float(np.mean([seed["single_clips"][key] for seed in seeds]))
            for key in ("auroc", "right")
        },
        "fresh_minus_test": {
            "mean": float(np.mean([gap["mean"] for gap in gaps])),
            "se": float(np.mean([gap["se"] for gap in gaps])),
            "suspicious": any(gap["suspicious"] for gap in gaps),
        },
        "probes": _mean_probes([seed["probes"] for seed in seeds]),
        "hidden_position": {
            "steps_hidden": hidden[0]["steps_hidden"],
            "unit": hidden[0]["unit"],
            **{
                name: float(np.mean([one[name] for one in hidden]))
                for name in hidden[0]["interval95"]
            },
        },
    }


def _mean_probes(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean over seeds of every source of every probe."""
    return {
        target: {
            moment: {
                source: float(np.mean([seed[target][moment][source] for seed in seeds]))
                for source in row["interval95"]
            }
            for moment, row in moments.items()
        }
        for target, moments in seeds[0].items()
    }

"""Ablation: one part of the two-rooms recipe changed at a time, on one recording and one list.

The protocol is that of ``two_rooms_eb`` on other episodes than its result. Each part is judged
against the whole recipe of the same seed on the same episodes.

    recording               one for all
    SEED/RUN                one run for each way to train; parts of the planning share the whole's
    SEED/act/PART           manifest, records and rows
    result.json             rows over all seeds, and paired tests
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from armillary.benchmark.machine import provenance
from armillary.control import Record, holm, read_records, wilson_interval
from armillary.control.processes import map_in_processes
from armillary.core.errors import ConfigError
from armillary.core.files import write_json
from armillary.core.progress import Bars, no_bars
from armillary.data import open_dataset
from armillary.planning.experience import AdaptationConfig
from armillary.recipes.acting import act
from armillary.recipes.changing import changed
from armillary.recipes.fine_view import SPREAD
from armillary.recipes.over_trainings import over_trainings
from armillary.recipes.recipe import prepared
from armillary.recipes.two_rooms_eb import EBConfig, learn_rooms, protocol, record_rooms

WHOLE = "whole"


@dataclass(frozen=True)
class Part:
    """What is left out, or put in where the recipe has left it out before.

    Attributes:
        said: the same in words.
        recipe: settings of the training that change, e.g. ``objective.rollout_steps``.
        act: fields of the planning that change.
    """

    said: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    act: Mapping[str, Any] = field(default_factory=dict)


PARTS: dict[str, Part] = {
    WHOLE: Part("nothing"),
    # The next three have left the recipe: in earlier ablations the first two earned nothing, and
    # the third did harm.
    "rollout": Part(
        "(added) steps of foresight in the loss: 6 instead of 1", {"objective.rollout_steps": 6}
    ),
    "inverse_dynamics": Part("(added) inverse dynamics", {"objective.inverse_dynamics": 4.0}),
    "anti_collapse": Part(
        "(added) variance and covariance, over the batch and within clips",
        {f"objective.{name}": weight for name, weight in SPREAD.items()},
    ),
    "picture_view": Part("the view of the picture", {"objective.picture_view": 0.0}),
    "settling": Part("the predictor's settling", {"settling.steps": 0}),
    "depth": Part("layers of the predictor: 1 instead of 3", {"model.predictor.layers": 1}),
    "adapt": Part("what the episode teaches", act={"adapt": None}),
    "doubt": Part(
        "doubts about steps like those that went wrong", act={"adapt": AdaptationConfig(doubt=0.0)}
    ),
    "hold": Part("holding an action for a model step", act={"hold": False}),
    "proposals": Part("the policy's proposals", act={"proposals": 0}),
    "value": Part("the learned distance in the cost, and its hills", act={"value_weight": 0.0}),
    "last_state": Part(
        "the cost of the last state alone (the sum over the plan)", act={"summed": True}
    ),
}


@dataclass(frozen=True)
class AblationConfig:
    """How much of everything.

    Attributes:
        base: recording, recipe, prior and planning of the whole.
        parts: keys of ``PARTS`` beside the whole.
        seeds: of training.
        workers: processes, each with one thread; results do not depend on it.
    """

    base: EBConfig = field(
        default_factory=lambda: replace(
            EBConfig(), act=replace(EBConfig().act, episodes=100, seed=1)
        )
    )
    parts: tuple[str, ...] = tuple(name for name in PARTS if name != WHOLE)
    seeds: tuple[int, ...] = (0, 1)
    workers: int = 2

    def __post_init__(self) -> None:
        unknown = [name for name in self.parts if name not in PARTS]
        twice = any(len({*some}) < len(some) for some in (self.parts, self.seeds))
        if unknown or twice or not self.seeds:
            known = ", ".join(name for name in PARTS if name != WHOLE)
            raise ConfigError(
                f"An ablation needs seeds, each once, and parts of: {known}; "
                f"got {self.seeds} and {self.parts}."
            )
        if min(self.workers, self.base.episodes, self.base.act.episodes) < 1:
            raise ConfigError(
                "workers, recorded and evaluated episodes must be at least 1; got "
                f"{self.workers}, {self.base.episodes} and {self.base.act.episodes}."
            )


def shortened(base: EBConfig, share: float) -> EBConfig:
    """Return the same with a share of the steps of every training: model, settling and prior.

    Args:
        base: of full length.
        share: above 0, at most 1.

    Raises:
        ConfigError: another share.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"share must be above 0 and at most 1; got {share}.")

    def short(config: Any) -> Any:
        return replace(config, steps=max(1, round(share * config.steps)))

    recipe = replace(short(base.recipe), settling=short(base.recipe.settling))
    return replace(base, recipe=recipe, prior=short(base.prior))


def run_ablation(
    out: Path,
    config: AblationConfig | None = None,
    bars: Bars = no_bars,
    command: str = "",
) -> dict[str, Any]:
    """Record, train every variant with every seed, and let all of them act on the same episodes.

    Args:
        out: folder; what is finished there is used again.
        config: how much of everything.
        bars: makes a progress bar for a stage.
        command: that does the same again, for the result.

    Returns:
        ``parts.NAME.{said,n,success,wilson95,seeds,whole_only,part_only,p,p_holm}``; ``seeds``,
        ``steps`` of every training, and ``command``, ``commit``, ``date``, ``machine``.

    Raises:
        ConfigError: ``out`` holds another evaluation.
        StorageError: ``out`` is not writable.
    """
    config = config or AblationConfig()
    with bars("recording") as progress:
        record_rooms(out / "recording", config.base, progress)
        # once, before several trainings want the same at the same time
        prepared(open_dataset(out / "recording"), config.base.recipe.model, progress)
    names = (WHOLE, *(name for name in config.parts if name != WHOLE))
    trained = [name for name in names if name == WHOLE or PARTS[name].recipe]
    for told, stage, some in (("training", _Learn, trained), ("acting", _Act, names)):
        tasks = [(seed, name) for seed in config.seeds for name in some]
        with bars(told) as progress:
            map_in_processes(stage(out, config.base), tasks, config.workers, progress)
    records = {name: [_records(out, seed, name) for seed in config.seeds] for name in names}
    recipe = config.base.recipe
    steps = {
        "model": recipe.steps,
        "settling": recipe.settling.steps,
        "prior": config.base.prior.steps,
    }
    about = provenance(command, 1)
    result = {"parts": compared(records), "seeds": list(config.seeds), "steps": steps, **about}
    write_json(out / "result.json", result)
    return result


def compared(records: Mapping[str, Sequence[Sequence[Record]]]) -> dict[str, dict[str, Any]]:
    """Return a row for each part, over all seeds, and its test against the whole by episode.

    Args:
        records: by part, the whole among them: for every seed the records of the same episodes.
    """
    whole = [_solved(run) for run in records[WHOLE]]
    rows: dict[str, dict[str, Any]] = {}
    for name, runs in records.items():
        each = [_solved(run) for run in runs]
        solved = np.concatenate(each)
        test = over_trainings(whole, each)
        rows[name] = {
            "said": PARTS[name].said,
            "n": len(solved),
            "success": float(solved.mean()),
            "wilson95": list(wilson_interval(int(solved.sum()), len(solved))),
            "seeds": [float(one.mean()) for one in each],
            "whole_only": test.only_first,
            "part_only": test.only_second,
            "p": test.p,
        }
    others = [name for name in rows if name != WHOLE]
    for name, p in zip(others, holm([rows[name]["p"] for name in others]), strict=True):
        rows[name]["p_holm"] = p
    return rows


@dataclass(frozen=True)
class _Learn:
    """Trains one variant in any process."""

    out: Path
    base: EBConfig

    def __call__(self) -> Callable[[tuple[int, str]], None]:
        def run(task: tuple[int, str]) -> None:
            seed, name = task
            recipe = replace(self.base.recipe, seed=seed, threads=1)
            config = replace(
                self.base,
                recipe=changed(recipe, PARTS[name].recipe),
                prior=replace(self.base.prior, seed=seed),
            )
            learn_rooms(config, self.out / "recording", _run_of(self.out, seed, name))

        return run


@dataclass(frozen=True)
class _Act:
    """Lets one variant act in any process."""

    out: Path
    base: EBConfig

    def __call__(self) -> Callable[[tuple[int, str]], None]:
        def run(task: tuple[int, str]) -> None:
            seed, name = task
            rules = replace(protocol(self.base.act), workers=1, **PARTS[name].act)
            act(_run_of(self.out, seed, name), "two_rooms", _acted(self.out, seed, name), rules)

        return run


def _run_of(out: Path, seed: int, name: str) -> Path:
    return out / str(seed) / (name if PARTS[name].recipe else WHOLE)


def _acted(out: Path, seed: int, name: str) -> Path:
    return out / str(seed) / "act" / name


def _records(out: Path, seed: int, name: str) -> Sequence[Record]:
    return read_records(_acted(out, seed, name) / "records" / "model.jsonl")


def _solved(records: Sequence[Record]) -> np.ndarray:
    return np.array([record.success for record in records], float)

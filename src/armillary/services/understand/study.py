"""Understanding: is a model more surprised by what cannot be? The whole study of one model.

    said/NAME.jsonl     what the judges answered for every clip, by opaque id
    result.json         rows by concept, controls, FRESH minus TEST, twins, hidden position
    page.html           the same for the eyes, with a quadruplet of each concept

One rule scores everything (``understanding/suites/quadruplets/scoring.py``). Its hash is in the
result beside those of the suite's code and of the model's weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from armillary.benchmark.machine import provenance
from armillary.core.errors import ConfigError, ShapeError, unknown_name
from armillary.core.files import read_json, storage_errors, write_json
from armillary.core.hashing import file_sha256
from armillary.core.on_ray import connected, ray_address
from armillary.core.progress import Bars, no_bars
from armillary.models import JEPA, load_model, untrained
from armillary.objectives.whitening import Whitening
from armillary.services.understand.page import shown_surprise, write_understanding_page
from armillary.understanding.suites.ask_on_ray import ask_on_ray
from armillary.understanding.suites.hidden import hidden_position
from armillary.understanding.suites.quadruplets import (
    CONCEPTS,
    CONTROLS,
    RULE,
    RULE_SHA256,
    SEEDS,
    JepaJudges,
    Judges,
    Scores,
    Suite,
    ask,
    concept_rows,
    fresh_seed,
    gap,
    headline_concepts,
    mean_headline,
    read_said,
    score,
    suite_digest,
)
from armillary.understanding.suites.quadruplets.asking import PanelFactory
from armillary.understanding.suites.quadruplets.expectation import (
    Expectation,
    fit_expectation,
    fit_normal,
)
from armillary.understanding.suites.quadruplets.judges import Frames, Panel, Pans, Surprise, View
from armillary.understanding.suites.quadruplets.known import known_judges
from armillary.understanding.suites.quadruplets.single import single_clips
from armillary.understanding.suites.quadruplets.suite import Label
from armillary.understanding.suites.quadruplets.table import ByConcept, shortcut_solvable
from armillary.understanding.suites.rare import specificity
from armillary.understanding.suites.stage_probes import stage_probes
from armillary.worlds.stage.scene import STAGE
from armillary.zoo.finding import find_model

_OWN: tuple[View, ...] = ("model", "plain", "copy_last", "unexpected")
_LOST: tuple[View, ...] = ("one_frame", "shuffled_context", "foreign_context")
_UNTRAINED = 3
_Ask = Callable[..., dict[str, dict[str, Label]]]  # as ``ask``


@dataclass(frozen=True)
class UnderstandConfig:
    """How much of everything.

    Attributes:
        count: quadruplets of each concept, of TEST.
        fresh: of FRESH.
        dev: of DEV, on which the threshold for single clips is fixed.
        controls: of TEST, for the controls; 0 for none.
        twins: of TEST, without screens.
        hidden: scenes in which a hidden thing's place is asked for, and of the probes; three times
            and twice as many to learn the read-outs on.
        concepts: keys of ``CONCEPTS``; empty for all.
        on: ``ray`` for actors of Ray on this machine, ``ray://HOST:PORT`` for those of a cluster,
            whose machines share the model's folder; "" for one process.
        workers: actors of Ray; the answers do not depend on it.
    """

    count: int = 500
    fresh: int = 200
    dev: int = 100
    controls: int = 100
    twins: int = 50
    hidden: int = 400
    concepts: tuple[str, ...] = ()
    on: str = ""
    workers: int = 2

    def __post_init__(self) -> None:
        for name in ("count", "fresh", "dev", "twins", "hidden", "workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in self.concepts:
            if name not in CONCEPTS:
                raise unknown_name("concept", name, CONCEPTS)
        if self.controls < 0:
            raise ConfigError(f"controls must be at least 0, got {self.controls}.")

    @property
    def asked(self) -> tuple[str, ...]:
        """The concepts."""
        return self.concepts or tuple(CONCEPTS)


@dataclass(frozen=True)
class ModelPanel:
    """Makes the judges that a study needs, in the judges' own process.

    Attributes:
        folder: of the model.
        normal: its errors in possible clips.
        views: of it.
        expectation: what is usual, for the view ``unexpected``.
        controls: the judges that know nothing, and encoders that learned nothing, beside it.
    """

    folder: Path
    normal: Whitening
    views: tuple[View, ...] = _OWN
    expectation: Expectation | None = None
    controls: bool = False

    def __call__(self) -> Panel:
        """Return the panel."""
        model = load_model(self.folder)
        panels: list[Panel] = [
            JepaJudges(model, self.normal, self.views, expectation=self.expectation)
        ]
        if self.controls:
            panels.append(Judges(CONTROLS))
            for seed in range(_UNTRAINED):
                blank = untrained(model.config, seed)
                blank.normalizer.load_state_dict(model.normalizer.state_dict())
                normal = fit_normal(blank.eval())
                panels.append(JepaJudges(blank, normal, ("model",), f"untrained_{seed}_"))

        def panel(frames: Frames, pans: Pans) -> dict[str, Surprise]:
            return {name: said for one in panels for name, said in one(frames, pans).items()}

        return panel


def understand_model(
    model: str | Path,
    out: Path,
    config: UnderstandConfig | None = None,
    bars: Bars = no_bars,
    command: str = "",
) -> dict[str, Any]:
    """Ask a model everything, and write down the answers; what is written is used again.

    Args:
        model: model folder, run folder or Hub id.
        out: folder.
        config: how much; None takes the defaults.
        bars: makes a progress bar for a stage.
        command: that makes these numbers again.

    Returns:
        What ``result.json`` holds.

    Raises:
        CheckpointError: not a model.
        ShapeError: a model that does not look at pictures of 64 pixels alone.
        ConfigError: Ray is not installed, or the cluster cannot be reached.
        WorldError: the judges broke, or an actor of Ray died too often.
        StorageError: ``out`` cannot be written.
    """
    config = config or UnderstandConfig()
    address = _address(config)  # before a finished result, which would hide a misspelled one
    folder = find_model(model)
    loaded = load_model(folder)
    _check(loaded)
    if (finished := _finished(folder, out, config)) is not None:
        return finished
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with _asker(config, address) as asker:
        result = _study(loaded, folder, out, config, asker, bars)
    result |= provenance(command, 2)
    write_understanding_page(result, out / "page.html")
    write_json(out / "result.json", result)
    return result


def _study(
    loaded: JEPA, folder: Path, out: Path, config: UnderstandConfig, asker: _Ask, bars: Bars
) -> dict[str, Any]:
    """Return the result of ``understand_model``, without where it was made."""
    folder = folder.absolute()  # actors of Ray have another working directory
    with bars("what is usual"):
        normal = fit_normal(loaded)
        expectation = fit_expectation(loaded, normal, max(32, 8 * config.hidden))
    weights = folder / "model.safetensors"
    suites = {
        "test": Suite(SEEDS["test"], config.count, config.asked),
        "dev": Suite(SEEDS["dev"], config.dev, config.asked),
        "fresh": Suite(fresh_seed(weights), config.fresh, config.asked),
        "twins": Suite(SEEDS["test"], config.twins, config.asked, visible=True),
    }
    found = _scored(suites, ModelPanel(folder, normal, expectation=expectation), out, asker, bars)
    test, dev, fresh, twins = (found[name] for name in suites)
    controls: dict[str, ByConcept] = {}
    if config.controls:
        few = {"controls": Suite(SEEDS["test"], config.controls, config.asked)}
        lost = ModelPanel(folder, normal, _LOST, controls=True)
        controls = _scored(few, lost, out, asker, bars)["controls"]
    asked = {**controls, "copy_last": test["copy_last"]}
    rows = concept_rows(test["model"], test["copy_last"], headline_concepts(asked))
    for name, by in shortcut_solvable(asked).items():
        rows[name]["shortcut_solvable"] = by
        rows[name]["auroc"] = test["unexpected"][name].row()["auroc"]
        rows[name]["plain_d_accuracy"] = test["plain"][name].d_accuracy
    single = single_clips(dev["unexpected"], test["unexpected"])
    with bars("hidden position and rare clips"):
        hidden = hidden_position(loaded, 3 * config.hidden, config.hidden)
        limit, few_rare = single["threshold"], max(8, config.hidden // 4)
        asked_rare = JepaJudges(loaded, normal, ("unexpected",), expectation=expectation)
        rare = specificity(asked_rare, limit, test["unexpected"], few_rare)
    with bars("what its state says"):
        probes = stage_probes(loaded, max(32, 2 * config.hidden), config.hidden)
    return {
        "concepts": rows,
        "mean_headline": mean_headline(rows),
        "single_clips": single,
        "specificity": rare,
        "fresh_minus_test": gap(fresh["model"], test["model"]),
        "twins": {name: found.d_accuracy for name, found in twins["model"].items()},
        "by_occlusion": _by_occlusion(test["model"]),
        "controls": _short(controls),
        "hidden_position": hidden,
        "probes": probes,
        "shown": shown_surprise(JepaJudges(loaded, normal), rows),
        "rule": RULE,
        "rule_sha256": RULE_SHA256,
        "suite_sha256": suite_digest(),
        "weights_sha256": file_sha256(weights),
        "counts": _counts(config),
    }


def understand_judge(
    factory: PanelFactory,
    out: Path,
    config: UnderstandConfig | None = None,
    bars: Bars = no_bars,
    command: str = "",
) -> dict[str, Any]:
    """Ask any judge: a model that was trained elsewhere, or your own ``SurpriseModel``.

    What it adds is measured against the panel's judge ``copy_last`` where there is one, else
    against copy-last in pixels.

    Args:
        factory: makes a panel with a judge named ``model``, in a process of its own; e.g. a
            module-level function that returns ``Judges({"model": MyModel()})``.
        out: folder.
        config: how much; of it ``count``, ``concepts``, ``on`` and ``workers`` count.
        bars: makes a progress bar for a stage.
        command: that makes these numbers again.

    Returns:
        What ``result.json`` holds.

    Raises:
        ConfigError: Ray is not installed, or the cluster cannot be reached.
        WorldError: the judge broke, or an actor of Ray died too often.
        StorageError: ``out`` cannot be written.
    """
    config = config or UnderstandConfig()
    suite = Suite(SEEDS["test"], config.count, config.asked)
    found: dict[str, ByConcept] = {}
    with _asker(config, _address(config)) as asker:
        for name, made in (("model", factory), ("controls", _controls)):
            found |= _scored({name: suite}, made, out, asker, bars)[name]
    if "model" not in found:
        raise ConfigError(f"The panel needs a judge named 'model'; it has {', '.join(found)}.")
    copy = found.get("copy_last", found["copy_last_pixels"])
    rows = concept_rows(found["model"], copy, headline_concepts(found))
    result = {
        "concepts": rows,
        "mean_headline": mean_headline(rows),
        "by_occlusion": _by_occlusion(found["model"]),
        "controls": _short(found),
        "rule": RULE,
        "rule_sha256": RULE_SHA256,
        "suite_sha256": suite_digest(),
        "counts": {"count": config.count, "concepts": list(config.concepts)},
        **provenance(command, 2),
    }
    write_json(out / "result.json", result)
    return result


def _controls() -> Judges:
    return Judges(CONTROLS)


def _short(judges: Mapping[str, ByConcept]) -> dict[str, Any]:
    return {
        name: {"concepts": {c: {"d_accuracy": s.d_accuracy} for c, s in found.items()}}
        for name, found in judges.items()
        if name != "model"
    }


def _address(config: UnderstandConfig) -> str | None:
    return ray_address(config.on) if config.on else None


@contextmanager
def _asker(config: UnderstandConfig, address: str | None) -> Iterator[_Ask]:
    """Give ``ask``, or its like with actors of Ray, which is there until the study ends."""
    if not config.on:
        yield ask
        return
    with connected(address, config.workers):
        yield partial(ask_on_ray, address=address, workers=config.workers)


def _scored(
    suites: Mapping[str, Suite], factory: PanelFactory, out: Path, asker: _Ask, bars: Bars
) -> dict[str, dict[str, ByConcept]]:
    """Return the scores by suite, judge and concept."""
    with bars(", ".join(suites)) as progress:
        labels = asker(suites, factory, out / "said", progress=progress)
    scored: dict[str, dict[str, ByConcept]] = {}
    for name in suites:
        said = read_said(out / "said" / f"{name}.jsonl")
        if name == "controls":
            said |= known_judges(labels[name])
        scored[name] = {judge: score(found, labels[name]) for judge, found in said.items()}
    return scored


def _finished(folder: Path, out: Path, config: UnderstandConfig) -> dict[str, Any] | None:
    """Return the result of the same questions to the same weights, if it is there."""
    file = out / "result.json"
    if not file.is_file():
        return None
    found = read_json(file)
    keys = {
        "weights_sha256": file_sha256(folder / "model.safetensors"),
        "suite_sha256": suite_digest(),
        "rule_sha256": RULE_SHA256,
        "counts": _counts(config),
    }
    return found if all(found.get(key) == value for key, value in keys.items()) else None


def _counts(config: UnderstandConfig) -> dict[str, Any]:
    """Return how much was asked; not where, because the answers do not depend on it."""
    counts = {**asdict(config), "concepts": list(config.concepts)}
    return {name: value for name, value in counts.items() if name not in ("on", "workers")}


def _check(model: JEPA) -> None:
    config, size = model.config, int(STAGE)
    sees = tuple(config.sensors) == ("rgb",) and config.encoder.image_size == size
    if not sees or config.action_width not in (0, 2) or config.frame_skip != 1:
        raise ShapeError(
            f"The quadruplets have images of {size}x{size} pixels, 2 action numbers a step and "
            f"frame_skip 1. The model has {', '.join(config.sensors)} of "
            f"{config.encoder.image_size} pixels, {config.action_width} action numbers and "
            f"frame_skip {config.frame_skip}. Record the world stage and train on it: "
            "armillary train world."
        )


def _by_occlusion(scores: Mapping[str, Scores]) -> dict[str, dict[str, Any]]:
    """Return D-accuracy by steps of occlusion, over concepts with screens of two lengths."""
    kept = [scores[name] for name in scores if "occlusion" in CONCEPTS[name].factors]
    if not kept:
        return {}
    double = np.concatenate([one.double for one in kept])
    hidden = np.concatenate([one.hidden for one in kept])
    return {
        str(steps): {
            "n": int((hidden == steps).sum()),
            "d_accuracy": 100 * float(double[hidden == steps].mean()),
        }
        for steps in sorted(set(hidden.tolist()))
    }

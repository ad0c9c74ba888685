"""Study: the same experience as words and as pictures, what each predicts, and who gets there.

    record -> for each seed: train a world model, then language models for as many core seconds
           -> judge: next states, possible against impossible, goals

    OUT/recording, OUT/judged       episodes to learn from (unless a dataset is given) and to judge
    OUT/seed-N/world                the run of a world model
    OUT/seed-N/T-probe ...          language models
    OUT/seed-N/*.json               what training took; errors of every episode
    OUT/asked/NAME/result.json      what a language model was asked (``asking.py``), if it was
    OUT/result.json, page.html      all of it

A simulator that somebody wrote (``written_code.py``) is judged beside the variants: with true
places, and with those that the ridge reads.

A folder that holds part of this is continued.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from armillary.benchmark.machine import provenance
from armillary.core.claiming import claim
from armillary.core.errors import FormatError
from armillary.core.files import read_json, replacing_folder, write_json
from armillary.core.hashing import json_sha256
from armillary.core.progress import Bars, no_bars
from armillary.core.rng import generator
from armillary.data import Cache, Dataset, open_dataset
from armillary.models import load_model
from armillary.models.checkpoint import read_tensors, write_tensors
from armillary.models.jepa import JEPA, untrained
from armillary.recipes.recipe import prepared, split_of, train_recipe
from armillary.recipes.recipe_config import Recipe, shortened
from armillary.recipes.world import adapted, world
from armillary.words.acting import (
    Acted,
    Actor,
    act_with,
    act_without_model,
    goals_of,
    staged,
    word_actor,
    world_actor,
)
from armillary.words.asking import judge_written, written_of
from armillary.words.decoding import write_ahead
from armillary.words.experience import Experience, recorded
from armillary.words.gpt import GPT
from armillary.words.language import FORMS, Form, kept_on_table
from armillary.words.learning import learn, shape_of, updates_for
from armillary.words.page import answer_sentences, write_page
from armillary.words.pairs import draw_pairs, judge_pairs
from armillary.words.pictures import Reader, fit_reader, see_episodes
from armillary.words.predicting import (
    errors_cm,
    moments_of,
    moved_cm,
    predict_all,
    see_moments,
    texts_of,
)
from armillary.words.registration import registration
from armillary.words.settings import WordsConfig
from armillary.words.summary import summarise
from armillary.words.variants import SOURCE_OF, Moments, Sources, sources_of
from armillary.words.written_code import WrittenSimulator
from armillary.worlds import record
from armillary.zoo.finding import find_model

_MOST_CANDIDATES = 2048
_RANDOM_EPISODES = 300  # that the read-out of random weights is fitted on
_CAREFUL = 4  # decimals of centimetres that are kept


@dataclass(frozen=True)
class _Place:
    """Where a study is, and on what."""

    out: Path
    data: Path
    config: WordsConfig
    bars: Bars

    @property
    def form(self) -> Form:
        return FORMS[self.config.form]

    def seed(self, seed: int) -> Path:
        return self.out / f"seed-{seed}"


def compare_words(
    out: Path,
    config: WordsConfig | None = None,
    data: Path | None = None,
    bars: Bars = no_bars,
    command: str = "",
) -> dict[str, Any]:
    """Train and judge all variants.

    Args:
        out: folder; what is finished there is used again, and seeds can be added later.
        config: how much of everything.
        data: dataset of the scene to learn from; it is recorded if None.
        bars: makes a progress bar for a stage.
        command: that does the same again, for the result.

    Returns:
        See ``summarise``; beside it ``registration``, ``config``, ``training`` and how it was made.

    Raises:
        ConfigError: ``out`` holds other settings.
        DatasetError: the dataset lacks recorded states, or its episodes differ in length.
        StorageError: ``out`` is not writable.
    """
    config = config or WordsConfig()
    registered = registration(config.scene_spec.registration)
    about = provenance(command, 1)
    torch.set_num_threads(1)
    seeds = seeds_of(out, config, data, bars)
    asked = asked_of(out)
    measured = [one.measured(asked) for one in seeds]
    result = {
        **summarise(measured, config, registered),
        "asked": asked,
        "registration": registered,
        "config": asdict(config),
        "training": {str(one["seed"]): one["training"] for one in measured},
        **about,
    }
    write_json(out / "result.json", result)
    write_page(
        result,
        _with_written(seeds[0].expected(), measured[0]["written"]),
        open_dataset(out / "judged"),
        config.scene_spec,
        out / "page.html",
    )
    return result


def seeds_of(
    out: Path, config: WordsConfig, data: Path | None = None, bars: Bars = no_bars
) -> list[Seed]:
    """Return the seeds of a study; its episodes are recorded if they are not.

    Raises:
        As ``compare_words``.
    """
    place = _claimed(out, config, data, bars)
    training, judged = (
        _experience(open_dataset(folder), place) for folder in (place.data, out / "judged")
    )
    return [Seed(place, seed, training, judged) for seed in config.seeds]


def asked_of(out: Path) -> dict[str, Any]:
    """Return what language models were asked, by the names of their folders.

    Raises:
        FormatError: a result is not one of ``armillary compare ask``.
    """
    found = {}
    for file in sorted(out.glob("asked/*/result.json")):
        found[file.parent.name] = read_json(file)
        try:
            answer_sentences(found[file.parent.name])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"{file}: not a result of armillary compare ask.") from error
    return found


def _claimed(out: Path, config: WordsConfig, data: Path | None, bars: Bars) -> _Place:
    """Record what is missing, once the folder is known to belong to these settings."""
    settings = {key: value for key, value in asdict(config).items() if key != "seeds"}
    if config.scene == "tabletop":
        del settings["scene"]  # as in folders from before there was another one
    claim(out / "settings.json", [settings, str(data or "")], "a comparison")
    wanted = [("judged", config.judged, config.judged_seed)]
    if data is None:
        wanted.append(("recording", config.episodes, 0))
    for name, episodes, seed in wanted:
        with bars(f"recording {name}") as progress:
            record(
                config.scene_spec.world, out / name, episodes, config.steps, workers=1, seed=seed,
                settings=dict(config.scene_spec.settings), resume=True, progress=progress,
            )  # fmt: skip
    return _Place(out, data or out / "recording", config, bars)


def _experience(dataset: Dataset, place: _Place) -> tuple[Cache, Experience]:
    recipe = adapted(world(), dataset)
    with place.bars("preparing") as progress:
        cache = prepared(dataset, recipe.model, progress)
    return cache, recorded(cache, place.config.scene_spec)


def _recipe(place: _Place, seed: int) -> Recipe:
    recipe = adapted(world(), open_dataset(place.data))
    if place.config.world_steps is not None:
        recipe = shortened(recipe, place.config.world_steps)
    return replace(recipe, threads=1, seed=seed)


def _train_world(place: _Place, seed: int) -> dict[str, Any]:
    """Train the world model of a seed unless that was done, and return what it took.

    One that was begun is begun anew, so that its core seconds are those of one attempt.
    """
    folder = place.seed(seed)
    file = folder / "world.json"
    if file.is_file():
        return read_json(file)
    shutil.rmtree(folder / "world", ignore_errors=True)
    recipe = _recipe(place, seed)
    began = time.process_time()
    summary = train_recipe(
        recipe, place.data, folder / "world", bars=place.bars, diagnosed=False, acting=False
    )
    spent = time.process_time() - began
    model = load_model(find_model(folder / "world"))
    row = {
        "core_seconds": spent,
        "seconds": summary.seconds,
        "updates": recipe.steps,
        "updates_fine_tuning": recipe.settling.steps,
        "parameters": sum(weights.numel() for weights in model.parameters()),
    }
    write_json(file, row)
    return row


def _train_language(
    place: _Place, seed: int, variant: str, source: Experience, core_seconds: float
) -> None:
    """Train a language model for some core seconds."""
    text = place.form.write(source.states, source.actions)
    updates = updates_for(core_seconds, text, place.form)
    with place.bars(f"training {variant} of seed {seed}") as progress:
        learned = learn(text, place.form, updates, seed, progress=progress)
    with replacing_folder(place.seed(seed) / variant) as beside:
        write_tensors(beside / "model.safetensors", dict(learned.model.state_dict()))
    write_json(
        place.seed(seed) / f"{variant}.json",
        {
            "core_seconds": learned.core_seconds,
            "updates": learned.updates,
            "tokens": learned.tokens,
            "passes": learned.tokens / text.size,
            "loss": learned.loss,
            "parameters": sum(weights.numel() for weights in learned.model.parameters()),
        },
    )


def _language(place: _Place, seed: int, variant: str) -> GPT:
    model = GPT(shape_of(place.form))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    tensors = read_tensors(place.seed(seed) / variant / "model.safetensors", shapes)
    model.load_state_dict(tensors)
    return model.eval()


@dataclass(frozen=True)
class Seed:
    """One seed: what is trained and measured; what was done before is read.

    Attributes:
        place: of the study.
        seed: of training.
        recorded_side: prepared pictures and true states to learn from.
        judged_side: the same to judge on.
    """

    place: _Place
    seed: int
    recorded_side: tuple[Cache, Experience]
    judged_side: tuple[Cache, Experience]

    @property
    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Episodes to learn from: those that are learned from, and those that are held out."""
        return split_of(_recipe(self.place, self.seed), self.recorded_side[0])

    @cached_property
    def seen(self) -> _Seen:
        """All episodes as the variants read them."""
        model = load_model(find_model(self.place.seed(self.seed) / "world"))
        training, held_out = self.split
        sides = self.recorded_side, self.judged_side
        scale = self.place.config.scene_spec.action_scale
        return _Seen.of(model, *sides, training, held_out, self.seed, scale)

    @cached_property
    def languages(self) -> dict[str, GPT]:
        """The language models by variant."""
        return {
            variant: _language(self.place, self.seed, variant)
            for variant in self.place.config.variants
        }

    @property
    def moments(self) -> Moments:
        """From which steps are predicted."""
        episodes, steps = self.judged_side[1].states.shape[:2]
        config = self.place.config
        return moments_of((episodes, steps), config.horizons, config.judged_seed)

    def measured(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Train what is not trained, and return what is measured.

        Args:
            asked: results of asking; a simulator that is written there is measured, too.
        """
        folder = self.place.seed(self.seed)
        learned = {"W": _train_world(self.place, self.seed)}
        for variant in self.place.config.variants:
            file = folder / f"{variant}.json"
            if not file.is_file():
                source = self.seen.training.source(SOURCE_OF[variant])
                spent = learned["W"]["core_seconds"]
                _train_language(self.place, self.seed, variant, source, spent)
            learned[variant] = read_json(file)
        found: dict[str, Any] = {"seed": self.seed, "training": learned}
        for name, measure in (
            ("predictions", _predictions),
            ("pairs", _pairs),
            ("acting", _acting),
        ):
            file = folder / f"{name}.json"
            if not file.is_file():
                write_json(file, measure(self))
            found[name] = read_json(file)
        return found | {"written": self._written(written_of(asked))}

    def expected(self) -> dict[str, Any]:
        """Return what the models predict of every judged moment, for the page."""
        file = self.place.seed(self.seed) / "expected.json"
        if not file.is_file():
            write_json(file, _expected(self))
        return read_json(file)

    def _written(self, written: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return what is measured of written simulators; kept as long as they are the same."""
        digest = json_sha256({name: code["text"] for name, code in written.items()})
        file = self.place.seed(self.seed) / "written.json"
        if not file.is_file() or read_json(file).get("digest") != digest:
            write_json(file, {**_written(self, written), "digest": digest})
        return read_json(file)


@dataclass(frozen=True)
class _Seen:
    """All episodes as the variants of one seed read them."""

    reader: Reader
    random_reader: Reader
    training: Sources
    judged: Sources
    random_latents: torch.Tensor
    errors: np.ndarray

    def errors_of_goals(self, goals: int, seed: int) -> np.ndarray:
        """Return an error of the read-out for each goal, of an episode that is drawn."""
        drawn = generator("words.noise.acting", seed).integers(len(self.errors), size=goals)
        return self.errors[drawn, 0]

    @classmethod
    def of(
        cls,
        model: JEPA,
        recorded_side: tuple[Cache, Experience],
        judged_side: tuple[Cache, Experience],
        training: np.ndarray,
        held_out: np.ndarray,
        seed: int,
        action_scale: float,
    ) -> _Seen:
        (cache, truth), (judged_cache, judged_truth) = recorded_side, judged_side
        everyone = np.arange(judged_cache.num_episodes)
        latents, unseen, judged = (
            see_episodes(model, *side)
            for side in ((cache, training), (cache, held_out), (judged_cache, everyone))
        )
        own, rest = truth.of(training), truth.of(held_out)
        reader = fit_reader(model, latents, own, seed, action_scale)
        errors = reader.read(unseen) - rest.states
        random = untrained(model.config, seed)
        random.normalizer.load_state_dict(model.normalizer.state_dict())
        some = np.sort(
            generator("words.random", seed).permutation(len(training))[:_RANDOM_EPISODES]
        )
        random_reader = fit_reader(
            random, see_episodes(random, cache, training[some]), own.of(some), seed
        )
        return cls(
            reader,
            random_reader,
            sources_of(own, reader.read(latents), latents, errors, "training", seed),
            sources_of(judged_truth, reader.read(judged), judged, errors, "judged", seed),
            see_episodes(random, judged_cache, everyone),
            errors,
        )


def _predictions(one: Seed) -> dict[str, Any]:
    """Return the errors of every episode by variant and horizon, centimetres."""
    config, seen, moments = one.place.config, one.seen, one.moments
    truth = seen.judged.truth
    predicted, unparsed = predict_all(
        seen.reader, seen.random_reader, one.languages, one.place.form, seen.training, seen.judged,
        seen.random_latents, moments, config.horizons, config.judged_seed,
    )  # fmt: skip
    target, at = moments.later(truth), [ahead - 1 for ahead in config.horizons]
    present = errors_cm(moments.states(seen.judged.probe)[:, -1:], moments.states(truth)[:, -1:])
    return {
        "errors_cm": {
            variant: np.round(errors_cm(states, target)[:, at], _CAREFUL).tolist()
            for variant, states in predicted.items()
        },
        "moved_cm": np.round(moved_cm(seen.judged, moments)[:, at], _CAREFUL).tolist(),
        "read_out_cm": np.round(present[:, 0], _CAREFUL).tolist(),
        "unparsed": unparsed,
    }


def _pairs(one: Seed) -> dict[str, Any]:
    """Return how right each variant is about each pair."""
    config, seen = one.place.config, one.seen
    pairs = draw_pairs(seen.judged.truth, config.pairs, config.judged_seed)
    right = judge_pairs(
        pairs, seen.reader, one.languages, one.place.form, seen.training, seen.judged, one.seed
    )
    return {
        "kind": pairs.kind.tolist(),
        "right": {variant: values.tolist() for variant, values in right.items()},
    }


def _written(one: Seed, written: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what written simulators predict, and how right they are about pairs.

    Episodes that were shown to who wrote one are not judged: None.
    """
    found: dict[str, dict[str, Any]] = {"errors_cm": {}, "right": {}, "predicted": {}}
    if not written:
        return found
    config, judged = one.place.config, one.seen.judged
    moments, at = one.moments, [ahead - 1 for ahead in config.horizons]
    pairs = draw_pairs(judged.truth, config.pairs, config.judged_seed)
    target = moments.later(judged.truth)
    for name, code in written.items():
        simulator = WrittenSimulator.read(code["text"])
        for source in ("truth", "probe"):
            who, own = f"{name} ({source})", judged.source(source)
            states = kept_on_table(simulator.ahead(moments.states(own), moments.plans(own)))
            far, right = errors_cm(states, target)[:, at], judge_written(simulator, pairs, own)
            far[np.isin(moments.episode, code["examples"])] = np.nan
            right[np.isin(pairs.moments.episode, code["examples"])] = np.nan
            found["errors_cm"][who] = _plain(np.round(far, _CAREFUL))
            found["right"][who] = _plain(right)
            found["predicted"][who] = _plain(np.round(states[:, at], _CAREFUL))
    return found


def _expected(one: Seed) -> dict[str, Any]:
    """Return the states that are predicted of every judged moment, metres, by horizon."""
    config, seen, moments = one.place.config, one.seen, one.moments
    truth, at = seen.judged.truth, [ahead - 1 for ahead in config.horizons]
    before, plans = see_moments(seen.judged.latents, moments), moments.plans(truth)[:, None]
    found = {"W": seen.reader.ahead(before, moments.taken(truth), plans)[:, 0]}
    for variant, model in one.languages.items():
        text = texts_of(one.place.form, seen.judged.source(SOURCE_OF[variant]), moments)
        found[variant] = write_ahead(model, one.place.form, text, plans).states
    return {
        "horizons": list(config.horizons),
        "episode": moments.episode.tolist(),
        "now": moments.now.tolist(),
        "present": {
            name: _plain(np.round(moments.states(seen.judged.source(name))[:, -1], _CAREFUL))
            for name in ("truth", "probe")
        },
        "truth": _plain(np.round(moments.later(truth)[:, at], _CAREFUL)),
        "predicted": {
            name: _plain(np.round(kept_on_table(states)[:, at], _CAREFUL))
            for name, states in found.items()
        },
    }


def _with_written(expected: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is predicted, with that of written simulators that read the pictures' places."""
    own = {name: states for name, states in written["predicted"].items() if "(probe)" in name}
    return {**expected, "predicted": {**expected["predicted"], **own}}


def _plain(states: np.ndarray) -> list[Any]:
    """Return states as JSON values; None where a text could not be read."""
    values = states.astype(object)
    values[np.isnan(states)] = None
    return values.tolist()


def _acting(one: Seed) -> dict[str, Any]:
    """Return which goals each variant reaches; the world model at equal time, too."""
    place, seed, seen, languages = one.place, one.seed, one.seen, one.languages
    config = place.config
    if not config.scene_spec.task:
        return {"rows": {}}
    manifest = goals_of(config, seed)
    rows: dict[str, Acted] = {}
    with staged(manifest) as stage:

        def act(variant: str, actor: Actor, candidates: int) -> None:
            with place.bars(f"acting {variant} of seed {seed}") as progress:
                rows[variant] = act_with(actor, stage, config, candidates, seed, progress)

        for kind in ("random", "oracle"):
            rows[kind] = act_without_model(kind, stage, seed)
        act("W", world_actor(seen.reader), config.candidates)
        for variant, model in languages.items():
            reader = seen.reader if variant == "T-probe" else None
            errors = seen.errors_of_goals(config.goals, seed) if variant == "T-noise" else None
            act(variant, word_actor(model, place.form, reader, errors), config.candidates)
        if "T-probe" in rows:
            ratio = rows["T-probe"].seconds_per_decision / rows["W"].seconds_per_decision
            more = int(np.clip(config.candidates * ratio, config.candidates, _MOST_CANDIDATES))
            act("W equal time", world_actor(seen.reader), more)
    return {
        "manifest": manifest.sha256,
        "limit_m": manifest.success_distance,
        "budget": manifest.budget,
        "rows": {variant: row.to_dict(manifest.success_distance) for variant, row in rows.items()},
    }

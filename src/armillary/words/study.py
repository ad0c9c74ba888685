"""Study: the same experience as words and as pictures, what each predicts, and who gets there.

    record -> for each seed: train a world model, then language models for as many core seconds
           -> judge: next states, possible against impossible, goals

    OUT/recording, OUT/judged       episodes to learn from (unless a dataset is given) and to judge
    OUT/seed-N/world                the run of a world model
    OUT/seed-N/T-probe ...          language models
    OUT/seed-N/*.json               what training took; errors of every episode
    OUT/result.json                 all of it

A folder that holds part of this is continued.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from armillary.benchmark.machine import provenance
from armillary.core.files import read_json, replacing_folder, write_json
from armillary.core.progress import Bars, no_bars
from armillary.core.rng import generator
from armillary.data import Cache, Dataset, open_dataset
from armillary.models import load_model
from armillary.models.checkpoint import read_tensors, write_tensors
from armillary.models.jepa import JEPA, untrained
from armillary.recipes.claiming import claim
from armillary.recipes.finding import find_model
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
from armillary.words.experience import Experience, recorded
from armillary.words.gpt import GPT
from armillary.words.language import FORMS, Form
from armillary.words.learning import learn, shape_of, updates_for
from armillary.words.pairs import draw_pairs, judge_pairs
from armillary.words.pictures import Reader, fit_reader, see_episodes
from armillary.words.predicting import errors_cm, moments_of, moved_cm, predict_all
from armillary.words.registration import registration
from armillary.words.settings import WordsConfig
from armillary.words.summary import summarise
from armillary.words.variants import SOURCE_OF, Sources, sources_of
from armillary.worlds import record

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
        data: dataset of the tabletop to learn from; it is recorded if None.
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
    registered = registration()
    about = provenance(command, 1)
    torch.set_num_threads(1)
    place = _claimed(out, config, data, bars)
    truth, cache = _experience(open_dataset(place.data), place)
    judged_truth, judged_cache = _experience(open_dataset(out / "judged"), place)
    seeds = []
    for seed in config.seeds:
        trained = _train_world(place, seed)
        training, held_out = split_of(_recipe(place, seed), cache)
        model = load_model(find_model(place.seed(seed) / "world"))
        seen = _Seen.of(
            model, (cache, truth), (judged_cache, judged_truth), training, held_out, seed
        )
        languages, learned = {}, {"W": trained}
        for variant in config.variants:
            source = seen.training.source(SOURCE_OF[variant])
            languages[variant], learned[variant] = _train_language(
                place, seed, variant, source, trained["core_seconds"]
            )
        seeds.append({"seed": seed, "training": learned, **_judged(place, seed, seen, languages)})
    result = {
        **summarise(seeds, config, registered),
        "registration": registered,
        "config": asdict(config),
        "training": {str(one["seed"]): one["training"] for one in seeds},
        **about,
    }
    write_json(out / "result.json", result)
    return result


def _claimed(out: Path, config: WordsConfig, data: Path | None, bars: Bars) -> _Place:
    """Record what is missing, once the folder is known to belong to these settings."""
    settings = {key: value for key, value in asdict(config).items() if key != "seeds"}
    claim(out / "settings.json", [settings, str(data or "")], "a comparison")
    wanted = [("judged", config.judged, config.judged_seed)]
    if data is None:
        wanted.append(("recording", config.episodes, 0))
    for name, episodes, seed in wanted:
        with bars(f"recording {name}") as progress:
            record(
                "tabletop", out / name, episodes, config.steps, workers=1, seed=seed, resume=True,
                progress=progress,
            )  # fmt: skip
    return _Place(out, data or out / "recording", config, bars)


def _experience(dataset: Dataset, place: _Place) -> tuple[Experience, Cache]:
    recipe = adapted(world(), dataset)
    with place.bars("preparing") as progress:
        cache = prepared(dataset, recipe.model, progress)
    return recorded(cache), cache


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
) -> tuple[GPT, dict[str, Any]]:
    """Train a language model for some core seconds unless that was done."""
    file = place.seed(seed) / f"{variant}.json"
    folder = place.seed(seed) / variant
    text = place.form.write(source.states, source.actions)
    if not file.is_file():
        updates = updates_for(core_seconds, text, place.form)
        with place.bars(f"training {variant} of seed {seed}") as progress:
            learned = learn(text, place.form, updates, seed, progress=progress)
        with replacing_folder(folder) as beside:
            write_tensors(beside / "model.safetensors", dict(learned.model.state_dict()))
        write_json(
            file,
            {
                "core_seconds": learned.core_seconds,
                "updates": learned.updates,
                "tokens": learned.tokens,
                "passes": learned.tokens / text.size,
                "loss": learned.loss,
                "parameters": sum(weights.numel() for weights in learned.model.parameters()),
            },
        )
    model = GPT(shape_of(place.form))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    model.load_state_dict(read_tensors(folder / "model.safetensors", shapes))
    return model.eval(), read_json(file)


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
    ) -> _Seen:
        (cache, truth), (judged_cache, judged_truth) = recorded_side, judged_side
        everyone = np.arange(judged_cache.num_episodes)
        latents, unseen, judged = (
            see_episodes(model, *side)
            for side in ((cache, training), (cache, held_out), (judged_cache, everyone))
        )
        own, rest = truth.of(training), truth.of(held_out)
        reader = fit_reader(model, latents, own, seed)
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


def _judged(place: _Place, seed: int, seen: _Seen, languages: Mapping[str, GPT]) -> dict[str, Any]:
    """Return what is measured of one seed; what was measured before is read."""
    folder, found = place.seed(seed), {}
    for name, measure in (
        ("predictions", _predictions),
        ("pairs", _pairs),
        ("acting", _acting),
    ):
        file = folder / f"{name}.json"
        if not file.is_file():
            write_json(file, measure(place, seed, seen, languages))
        found[name] = read_json(file)
    return found


def _predictions(
    place: _Place, seed: int, seen: _Seen, languages: Mapping[str, GPT]
) -> dict[str, Any]:
    """Return the errors of every episode by variant and horizon, centimetres."""
    config = place.config
    truth = seen.judged.truth
    shape = truth.states.shape[:2]
    moments = moments_of((shape[0], shape[1]), config.horizons, config.judged_seed)
    predicted, unparsed = predict_all(
        seen.reader, seen.random_reader, languages, place.form, seen.training, seen.judged,
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


def _pairs(place: _Place, seed: int, seen: _Seen, languages: Mapping[str, GPT]) -> dict[str, Any]:
    """Return how right each variant is about each pair."""
    pairs = draw_pairs(seen.judged.truth, place.config.pairs, place.config.judged_seed)
    right = judge_pairs(pairs, seen.reader, languages, place.form, seen.training, seen.judged, seed)
    return {
        "kind": pairs.kind.tolist(),
        "right": {variant: values.tolist() for variant, values in right.items()},
    }


def _acting(place: _Place, seed: int, seen: _Seen, languages: Mapping[str, GPT]) -> dict[str, Any]:
    """Return which goals each variant reaches; the world model at equal time, too."""
    config = place.config
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

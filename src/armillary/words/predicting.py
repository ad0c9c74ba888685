"""Predicting: how far each variant's next states are from the true ones, in centimetres.

A state's error is the mean of two distances: that of the pusher and that of the object. A text that
does not parse counts as the farthest that two places of the language can be apart. Words cannot
leave the table, so places that others predict are brought back to its edge, too.

Axes: W windows, H steps of history, L steps ahead, E episodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from armillary.core.rng import generator
from armillary.words.decoding import Written, write_ahead
from armillary.words.floors import (
    Linear,
    NearestNeighbour,
    ThreeGram,
    constant_velocity,
    copy_last,
)
from armillary.words.gpt import GPT
from armillary.words.language import WORST_M, Form, as_written, kept_on_table, to_text
from armillary.words.pictures import Reader
from armillary.words.settings import HISTORY
from armillary.words.variants import SOURCE_OF, Moments, Sources

_CM = 100.0
_KEPT_EXAMPLES = 5


def moments_of(truth_shape: tuple[int, int], horizons: tuple[int, ...], seed: int) -> Moments:
    """Draw one moment of each episode from which all horizons can be judged.

    Args:
        truth_shape: episodes and steps of each.
        horizons: steps ahead.
        seed: of the draw; the same for all variants and seeds of training.
    """
    episodes, steps = truth_shape
    farthest = max(horizons)
    now = generator("words.moments", seed).integers(HISTORY - 1, steps - farthest, size=episodes)
    return Moments(np.arange(episodes), now, farthest, HISTORY)


def errors_cm(
    predicted: Float[np.ndarray, "W L 4"], target: Float[np.ndarray, "W L 4"]
) -> Float[np.ndarray, "W L 2"]:
    """Return the distances of pusher and object in centimetres; NaN counts as the worst."""
    apart = (predicted - target).reshape(*target.shape[:-1], 2, 2)
    return _CM * np.nan_to_num(np.linalg.norm(apart, axis=-1), nan=WORST_M)


def predict_all(
    reader: Reader,
    random_reader: Reader,
    languages: Mapping[str, GPT],
    form: Form,
    training: Sources,
    judged: Sources,
    random_latents: torch.Tensor,
    moments: Moments,
    horizons: tuple[int, ...],
    seed: int,
) -> tuple[dict[str, Float[np.ndarray, "W L 4"]], dict[str, Any]]:
    """Return what each variant and floor predicts, and what was written that does not parse.

    Args:
        reader: the world model and its read-out.
        random_reader: the same of a model with random weights.
        languages: language models by variant.
        form: how their texts are written.
        training: episodes that floors are fitted on.
        judged: episodes that judge.
        random_latents: of the judged episodes, of the model with random weights.
        moments: from which steps are predicted.
        horizons: steps ahead that are judged; the linear floor predicts no others.
        seed: of the shuffles.
    """
    order = _derangement(len(moments.now), seed)
    plans = moments.plans(judged.truth)
    others = plans[order]
    before = see_moments(judged.latents, moments)
    taken = moments.taken(judged.truth)
    found = {
        "W": reader.ahead(before, taken, plans[:, None])[:, 0],
        "W shuffled actions": reader.ahead(before, taken, others[:, None])[:, 0],
    }
    unparsed: dict[str, Any] = {}
    for variant, model in languages.items():
        source = judged.source(SOURCE_OF[variant])
        text = texts_of(form, source, moments)
        written = write_ahead(model, form, text, plans[:, None])
        found[variant], unparsed[variant] = written.states, _unparsed(written)
        if variant != "T-noise":
            shuffled = write_ahead(model, form, text, others[:, None])
            found[f"{variant} shuffled actions"] = shuffled.states
    random_now = random_latents[_torch(moments.episode), _torch(moments.now)]
    held = random_reader.read(random_now)[:, None]
    found["random encoder"] = np.repeat(held, moments.ahead, axis=1)
    for name in ("truth", "probe"):
        floors, three_gram = _floors(training, judged, name, form, moments, horizons, seed)
        found |= floors
        unparsed[f"three_gram ({name})"] = three_gram
    found["simulator in words"] = as_written(moments.later(judged.truth))
    return {variant: kept_on_table(states) for variant, states in found.items()}, unparsed


def see_moments(
    latents: Float[torch.Tensor, "E T N D"], moments: Moments
) -> Float[torch.Tensor, "W H N D"]:
    """Return the latents of the steps that are seen."""
    return latents[_torch(moments.episode[:, None]), _torch(moments.past)]


def texts_of(form: Form, source: Any, moments: Moments) -> np.ndarray:
    """Return the input of the steps that are seen: whole steps, then the present state."""
    states, taken = moments.states(source), moments.taken(source)
    whole = form.write(states[:, :-1], taken)
    return np.concatenate([whole, form.write_states(states[:, -1])], axis=1)


def _floors(
    training: Sources,
    judged: Sources,
    name: str,
    form: Form,
    moments: Moments,
    horizons: tuple[int, ...],
    seed: int,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    fit, source = training.source(name), judged.source(name)
    states, taken, plans = moments.states(source), moments.taken(source), moments.plans(source)
    predictors = {
        "copy_last": copy_last,
        "constant_velocity": constant_velocity,
        "linear": Linear.fit(fit, horizons),
        "nearest_neighbour": NearestNeighbour.fit(fit, seed),
    }
    found = {
        f"{floor} ({name})": predict(states, taken, plans) for floor, predict in predictors.items()
    }
    text = texts_of(form, source, moments)
    written = ThreeGram.fit(form.write(fit.states, fit.actions)).write_ahead(form, text, plans)
    found[f"three_gram ({name})"] = written.states
    return found, _unparsed(written)


def _unparsed(written: Written) -> dict[str, Any]:
    """Return how many states do not parse, and the first of them as they were written."""
    rows, steps = np.nonzero(~written.parsed)
    first = [(row, step) for row, step in zip(rows, steps, strict=True)
             if step == 0 or written.parsed[row, step - 1]]  # fmt: skip
    return {
        "states": int(written.parsed.size),
        "unparsable": int((~written.parsed).sum()),
        "examples": [
            {"steps_ahead": int(step) + 1, "written": to_text(written.tokens[row, step])}
            for row, step in first[:_KEPT_EXAMPLES]
        ],
    }


def moved_cm(judged: Sources, moments: Moments) -> Float[np.ndarray, "W L"]:
    """Return how far the object moved from the present to each step ahead, centimetres."""
    now = moments.states(judged.truth)[:, -1:, 2:]
    return _CM * np.linalg.norm(moments.later(judged.truth)[..., 2:] - now, axis=-1)


def _derangement(count: int, seed: int) -> np.ndarray:
    """Return an order in which nobody keeps his place (for two or more): a drawn cycle."""
    order = generator("words.shuffle", seed).permutation(count)
    places = np.empty(count, np.int64)
    places[order] = np.roll(order, 1)
    return places


def _torch(index: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(index))

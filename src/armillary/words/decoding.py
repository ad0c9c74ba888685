"""Decoding: what a language model writes next, and how likely it finds what is written.

Actions are given, states are written by the model, greedily. A state of a form always has equally
many tokens, so that many are written and then parsed. What cannot be parsed stays as it was
written. Once a text has left the grammar, its later states count as unparsable too.

Axes: R rows, L steps ahead, K tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from armillary.words.gpt import GPT, Cache
from armillary.words.language import Form

_KEPT = 4  # steps that are read again when the context is full, if so many fit with the next
_ROWS_AT_ONCE = 2048


@dataclass(frozen=True)
class Written:
    """What a model wrote.

    Attributes:
        states: [R L 4] metres, NaN where it could not be read.
        parsed: [R L].
        tokens: of the states, as written [R L K].
    """

    states: Float[np.ndarray, "R L 4"]
    parsed: Bool[np.ndarray, "R L"]
    tokens: Int[np.ndarray, "R L K"]


@torch.no_grad()
def write_ahead(
    model: GPT,
    form: Form,
    before: Int[np.ndarray, "B K"],
    plans: Float[np.ndarray, "B S L 2"],
) -> Written:
    """Return the states that a model writes after each action of each plan.

    Args:
        model: the language model.
        form: how steps are written.
        before: what was so far: whole steps, and the present state without an action.
        plans: S plans for each of B texts, m/s. Rows of the result are B x S.
    """
    at_once = max(1, _ROWS_AT_ONCE // plans.shape[1])
    parts = [
        _write(model, form, before[at : at + at_once], plans[at : at + at_once])
        for at in range(0, len(before), at_once)
    ]
    tokens = np.concatenate(parts)
    states, parsed = form.read_states(tokens)
    parsed = np.logical_and.accumulate(parsed, axis=1)
    return Written(np.where(parsed[..., None], states, np.nan), parsed, tokens)


def _write(model: GPT, form: Form, before: np.ndarray, plans: np.ndarray) -> np.ndarray:
    B, S, L, A = plans.shape
    acts = torch.from_numpy(form.write_actions(plans.reshape(B * S, L, A)))
    cache = Cache(model.config, B)
    texts = torch.from_numpy(before)
    model(texts, cache)
    if S > 1:
        cache, texts = cache.expanded(S), texts.repeat_interleave(S, 0)
    kept = min(_KEPT, model.config.context // form.step_tokens - 2)
    written = []
    for step in range(L):
        if cache.length + form.step_tokens > model.config.context:
            # the last whole steps and the present state, read anew
            texts = texts[:, -(kept * form.step_tokens + form.state_tokens) :]
            cache = Cache(model.config, B * S)
            model(texts, cache)
        state = _write_state(model, acts[:, step], form.state_tokens, cache)
        texts = torch.cat([texts, acts[:, step], state], 1)
        written.append(state)
    return torch.stack(written, 1).numpy()


def _write_state(model: GPT, action: Tensor, count: int, cache: Cache) -> Tensor:
    """Return the ``count`` tokens that follow an action; the cache has read them too."""
    given, found = action, []
    for _ in range(count):
        given = model(given, cache)[:, -1:].argmax(dim=-1)
        found.append(given)
    model(given, cache)
    return torch.cat(found, 1)


@torch.no_grad()
def log_likelihood(
    model: GPT, before: Int[np.ndarray, "R K"], state: Int[np.ndarray, "R K2"]
) -> Float[np.ndarray, " R"]:
    """Return the log-probability of a state's tokens after a text that ends with an action."""
    texts = torch.from_numpy(np.concatenate([before, state], axis=1))
    found = []
    for some in texts.split(256):
        scores = model(some[:, :-1])[:, -state.shape[1] :].log_softmax(dim=-1)
        target = some[:, -state.shape[1] :]
        found.append(scores.gather(2, target[:, :, None])[:, :, 0].sum(dim=1))
    return torch.cat(found).numpy()

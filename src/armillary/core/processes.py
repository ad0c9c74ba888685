"""Processes: run tasks in several processes, each owning what it opens, and survive their death.

Every process is spawned, uses one thread, and gets its next task when it has returned the last, so
that slow tasks do not hold up others. A process that dies costs the task it had.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from armillary.core.errors import ArmillaryError, WorldError
from armillary.core.interrupts import deaf_to_interrupts
from armillary.core.progress import Progress, silent

# Opens what a process needs (world, policy) and returns the function that runs one task.
Opener = Callable[[], Callable[[Any], Any]]


@dataclass(frozen=True)
class Died:
    """What comes back for a task whose process died.

    Attributes:
        exit_code: of the process; negative: the signal that ended it.
    """

    exit_code: int | None


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Any = None


def run_in_processes(
    opener: Opener, tasks: Sequence[Any], workers: int
) -> Iterator[tuple[Any, Any]]:
    """Yield (task, result) as they come; the result is ``Died`` where a process died.

    Args:
        opener: sent to each process by pickle; called there once.
        tasks: what to run.
        workers: most processes at a time.

    Raises:
        ArmillaryError: what the opener raised in a process, or what no task may raise.
    """
    busy: list[_Worker] = []
    waiting = list(reversed(tasks[workers:]))
    try:
        busy.extend(_start(opener, task) for task in tasks[:workers])
        while busy:
            for worker in _ready(busy):
                result = _receive(worker)
                yield worker.task, result
                busy.remove(worker)
                if waiting:
                    busy.append(_next(worker, opener, waiting.pop(), result))
                else:
                    _stop(worker)
    finally:
        for worker in busy:
            worker.process.terminate()
            _stop(worker)


def map_in_processes(
    opener: Opener, tasks: Sequence[Any], workers: int, progress: Progress = silent
) -> list[Any]:
    """Return the result of every task, in the order of the tasks, whatever the number of workers.

    Args:
        opener: as in ``run_in_processes``; with one worker it is called here.
        tasks: what to run.
        workers: processes; 1 runs in this one.
        progress: told after each task.

    Raises:
        WorldError: a process died.
        ArmillaryError: what the opener or a task raised.
    """
    results: dict[int, Any] = {}
    for task, result in _run(opener, tasks, workers):
        if isinstance(result, Died):
            raise WorldError(f"A process died in the middle of its work ({result.exit_code}).")
        results[id(task)] = result
        progress(len(results), len(tasks))
    return [results[id(task)] for task in tasks]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, as worker processes do.

    How a product is split over threads can change its last bits.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run(opener: Opener, tasks: Sequence[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    if workers > 1:
        yield from run_in_processes(opener, tasks, workers)
        return
    with one_thread():
        run = opener()
        for task in tasks:
            yield task, run(task)


def _ready(busy: list[_Worker]) -> list[_Worker]:
    pipes = wait([worker.pipe for worker in busy])
    return [worker for worker in busy if worker.pipe in pipes]


def _start(opener: Opener, task: Any) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, opener), daemon=True)
    with deaf_to_interrupts():
        process.start()
    theirs.close()
    return _send(_Worker(process, ours), task)


def _send(worker: _Worker, task: Any) -> _Worker:
    worker.task = task
    with suppress(ConnectionError):  # it died meanwhile; receiving will say so
        worker.pipe.send(task)
    return worker


def _next(worker: _Worker, opener: Opener, task: Any, result: Any) -> _Worker:
    if not isinstance(result, Died):
        return _send(worker, task)
    _stop(worker)
    return _start(opener, task)


def _receive(worker: _Worker) -> Any:
    try:
        result = worker.pipe.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        return Died(worker.process.exitcode)
    if isinstance(result, BaseException):
        raise result
    return result


def _stop(worker: _Worker) -> None:
    worker.pipe.close()  # the process sees the end of its tasks
    worker.process.join(timeout=10)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.process.close()


def _serve(pipe: Connection, opener: Opener) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes itself
    torch.set_num_threads(1)
    try:
        run = opener()
        while True:
            pipe.send(run(pipe.recv()))
    except (EOFError, BrokenPipeError):
        return
    except ArmillaryError as error:
        # A fresh error of the same kind: its sentence travels, its history need not.
        pipe.send(type(error)(str(error)))
    except Exception as error:
        pipe.send(WorldError(f"A process stopped with {type(error).__name__}: {error}"))

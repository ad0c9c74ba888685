"""Ray: run tasks in actors, on this machine or on a cluster, and survive their death.

Each actor opens what it needs once and then runs one task after another, each in a process of its
own with one thread. A task whose actor died is done again by a new one. So a task may be done
twice, and must leave the same whenever it is.

Ray asks for a token by default, which all machines of a cluster share (``RAY_AUTH_TOKEN_PATH``).
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeVar

import torch

from armillary.core.errors import ArmillaryError, ConfigError, WorldError
from armillary.core.optional import require

Task = TypeVar("Task")
Result = TypeVar("Result")

# How often an actor is started again, and a task done again, before the work ends.
DEATHS = 3
# Results are numbers, so little is shared. Ray's own choice is a third of the memory.
_SHARED_BYTES = 200_000_000
_ANSWERS_S = 10.0  # in which a head must answer
_ON = re.compile(r"ray(?:://(?P<address>[^\s/]+:\d+))?")


def ray_address(on: str) -> str | None:
    """Return the address of a cluster in ``ray://HOST:PORT``; None for ``ray``, this machine.

    ``ray`` alone is the cluster that ``RAY_ADDRESS`` names, if it is set.

    Raises:
        ConfigError: it is neither, or nothing answers at the address. Ray itself would wait for
            minutes.
        MissingExtraError: Ray is not installed.
    """
    if (found := _ON.fullmatch(on)) is None:
        raise ConfigError(f"--on takes ray or ray://HOST:PORT, got {on!r}.")
    _ray(found["address"])
    if address := found["address"]:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _ANSWERS_S).close()
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"No Ray answers at {address} ({error}). Start a head there with: ray start --head"
            ) from error
    return address


def run_on_ray(
    address: str | None,
    opener: Callable[[], Callable[[Task], Result]],
    tasks: Iterable[Task],
    workers: int,
) -> Iterator[Result]:
    """Yield the results of tasks as they come, in any order.

    Ray is started, or joined, unless it is there (``connected``). Each actor has at most two tasks,
    so that little is done in vain after an error or Ctrl-C. A task is taken from ``tasks`` only
    when an actor is free for it, so large ones are not all in memory.

    Args:
        address: HOST:PORT of a cluster's head; None for this machine.
        opener: sent to each actor; called there once, and again where a new one takes its place.
        tasks: what to run.
        workers: actors; those that find no core wait until another one ends.

    Raises:
        ConfigError: Ray is not installed, or the cluster cannot be reached.
        ArmillaryError: what the opener or a task raised.
        WorldError: an actor died too often, or a task raised something else.
    """
    waiting = iter(tasks)
    first = list(islice(waiting, workers))
    if not first:
        return
    ray = _ray(address)
    with connected(address, workers):
        kind = ray.remote(num_cpus=1, max_restarts=DEATHS, max_task_retries=DEATHS)(_Actor)
        actors = [kind.remote(opener) for _ in first]
        # actors come first in the zip: the other way round it would take a task and lose it
        twice = chain(zip(actors, first, strict=True), zip(actors, waiting, strict=False))
        running = {actor.run.remote(task): actor for actor, task in twice}
        # An actor without tasks then ends. Where a cluster has fewer cores than there are actors,
        # those that wait for a core would else wait for ever.
        del first, twice, actors
        while running:
            (done,), _ = ray.wait(list(running))
            actor = running.pop(done)
            yield _result(ray, done)
            for task in waiting:
                running[actor.run.remote(task)] = actor
                break
            del actor


def _ray(address: str | None) -> Any:
    """Import Ray, after saying what it reads from the environment while it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it sends statistics home
    if _is_here(address):
        # its servers then listen on the loopback alone, else on all interfaces, with a token
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    return require("ray", "ray", "run on Ray")


def _is_here(address: str | None) -> bool:
    return address is None and "RAY_ADDRESS" not in os.environ


class _Actor:
    """What runs in a process of Ray."""

    def __init__(self, opener: Callable[[], Callable[[Any], Any]]) -> None:
        torch.set_num_threads(1)  # as everywhere: other splits of a product have other last bits
        self._opener = opener
        self._run: Callable[[Any], Any] | None = None

    def run(self, task: Any) -> Any:
        # opened here, because Ray keeps no cause of what is raised while an actor is made
        if self._run is None:
            self._run = self._opener()
        return self._run(task)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        # Ray's error inherits from the one that was raised, and its text holds a whole traceback
        cause = error.cause
        if isinstance(cause, ArmillaryError):
            raise type(cause)(str(cause)) from error
        raise WorldError(f"A Ray actor raised {type(cause).__name__}: {cause}.") from error
    except ray.exceptions.RayActorError as error:
        raise WorldError(
            f"A Ray actor could not be started, or died more than {DEATHS} times: it was killed, "
            "ran out of memory, or the world crashed."
        ) from error


@contextmanager
def connected(address: str | None, workers: int) -> Iterator[None]:
    """Use the Ray of this process if it has one; else join a cluster, or start one here.

    Args:
        address: as in ``run_on_ray``.
        workers: for how many actors a Ray that is started here has room.

    Raises:
        ConfigError: Ray is not installed, or the cluster cannot be reached.
    """
    ray = _ray(address)
    if ray.is_initialized():
        yield
        return
    how: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if _is_here(address):
        how |= {"num_cpus": workers, "object_store_memory": _SHARED_BYTES}
        how |= {"include_dashboard": False}
    else:
        how["address"] = address
    try:
        ray.init(**how)
    except Exception as error:  # Ray has no one kind for it: no head, a wrong token, no memory
        if type(error).__name__ == "AuthenticationError":
            raise ConfigError(
                f"Ray at {address or 'the cluster'} asks for a token, and there is none here or "
                "another. Copy ~/.ray/auth_token from the head's machine to the same place here, "
                "or name its file in RAY_AUTH_TOKEN_PATH."
            ) from error
        first = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"Ray cannot be started at {address or 'this machine'}: {first or type(error).__name__}"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()

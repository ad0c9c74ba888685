"""Lockdown: a process gives up network, files, new processes and its limits, and tries the locks.

Nothing here is taken on trust: after locking, the process tries what it must no longer be able to
do, and only what was refused is called enforced. Imports are light, since a process loses its
network best while it has one thread.

Source: unshare(2), landlock(7), seccomp(2), setrlimit(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from armillary.core.errors import ConfigError
from armillary.proof import seccomp

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT, _LANDLOCK_VERSION = 444, 446, 1
# Every right over files that each version of Landlock knows, the newest last.
_FILE_RIGHTS = (0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)
_TCP_FROM, _SCOPES_FROM, _BOTH = 4, 6, 0x3
_OPEN_FILES = 16
_FREED_BYTES = 64 << 20
_LINUX = sys.platform.startswith("linux")
# An address that is set aside for documentation (RFC 5737): nobody is there.
_NOWHERE = ("192.0.2.1", 9)


@dataclass(frozen=True)
class Limits:
    """What a policy process may take.

    Attributes:
        decision_s: seconds per answer, wall clock of the grader.
        start_s: seconds from its start until it is ready.
        memory_bytes: address space beyond what it has when its model is loaded.
        message_bytes: arrays of one message.
        cpu_s: seconds of processor time in its whole life.
    """

    decision_s: float = 60.0
    start_s: float = 180.0
    memory_bytes: int = 4 << 30
    message_bytes: int = 16 << 20
    cpu_s: int = 7 * 24 * 3600

    def __post_init__(self) -> None:
        if not (self.decision_s > 0 and self.start_s > 0):
            raise ConfigError(
                "decision_s and start_s must be above 0 seconds; "
                f"got {self.decision_s} and {self.start_s}."
            )
        if min(self.memory_bytes, self.message_bytes, self.cpu_s) < 1:
            raise ConfigError(
                "memory_bytes, message_bytes and cpu_s must be at least 1; got "
                f"{self.memory_bytes}, {self.message_bytes} and {self.cpu_s}."
            )


def isolate() -> None:
    """Give up the network and new privileges, and die with the parent. Before any heavy import.

    What the system refuses is left; ``enforced`` will say so.
    """
    if not _LINUX:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, *map(ctypes.c_ulong, (signal.SIGKILL, 0, 0, 0)))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    # Root may; others may inside a user namespace of their own, where the system has them.
    if libc.unshare(_CLONE_NEWNET):
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def lock(limits: Limits) -> None:
    """Give up files, sockets, new processes, and more memory and time than the limits allow.

    For good, and for every thread. What the system refuses is left; ``enforced`` will say so.
    """
    _limit_resources(limits)
    if _LINUX:
        _give_up_files()
        seccomp.install()


def enforced(limits: Limits) -> tuple[str, ...]:
    """Try everything that ``lock`` took away and return the names of what is really gone."""
    return tuple(name for name, gone in _PROBES.items() if gone(limits))


def _limit_resources(limits: Limits) -> None:
    import resource  # not on Windows, where there is no boundary at all

    wanted = {
        resource.RLIMIT_CPU: limits.cpu_s,
        resource.RLIMIT_AS: _address_space() + limits.memory_bytes,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
    }
    for which, most in wanted.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(which, (most, most))


def _address_space() -> int:
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    return 0


def _give_up_files() -> None:
    """Landlock: a domain without any rule, in which nothing may be opened, made or listed."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(*map(ctypes.c_long, (_LANDLOCK_CREATE, 0, 0, _LANDLOCK_VERSION)))
    if version < 1:
        return
    files = _FILE_RIGHTS[min(version, len(_FILE_RIGHTS) - 1)]
    tcp = _BOTH if version >= _TCP_FROM else 0
    scopes = _BOTH if version >= _SCOPES_FROM else 0
    attributes = (ctypes.c_uint64 * 3)(files, tcp, scopes)
    size = ctypes.c_long(ctypes.sizeof(attributes))
    rules = libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), attributes, size, ctypes.c_long(0))
    if rules < 0:
        return
    libc.syscall(*map(ctypes.c_long, (_LANDLOCK_RESTRICT, rules, 0)))
    os.close(rules)


def _network_gone(limits: Limits) -> bool:
    return all(_no_way_out(family) for family in (socket.AF_INET, socket.AF_INET6))


def _no_way_out(family: socket.AddressFamily) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            # asks for a route; nothing is sent
            tried.connect(_NOWHERE if family == socket.AF_INET else ("2001:db8::1", 9))
    except OSError:
        return True
    return False


def _files_gone(limits: Limits) -> bool:
    here = os.fspath(Path(__file__))
    fresh = f"/tmp/armillary-probe-{os.getpid()}"
    attempts: tuple[Callable[[], object], ...] = (
        lambda: os.close(os.open(here, os.O_RDONLY)),
        lambda: os.listdir("/"),  # noqa: PTH208
        lambda: os.stat(here),  # noqa: PTH116  the system call itself
        lambda: _make_and_remove(fresh),
    )
    return all(_not_permitted(attempt) for attempt in attempts)


def _make_and_remove(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.unlink(path)  # noqa: PTH108


def _processes_gone(limits: Limits) -> bool:
    def run_nothing() -> None:
        os.execv("/nonexistent/armillary", ["armillary"])

    return _not_permitted(_fork) and _not_permitted(run_nothing)


def _fork() -> None:
    with warnings.catch_warnings():  # Python warns of forks with threads; this one ends at once
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _memory_gone(limits: Limits) -> bool:
    """Ask for more than is allowed; nothing is touched, so nothing is taken."""
    with suppress(OSError, ValueError, OverflowError):
        # what was freed since the limit was set may be taken again, hence a little more
        mmap.mmap(-1, limits.memory_bytes + _FREED_BYTES).close()
        return False
    return not _can_raise("RLIMIT_AS")


def _time_gone(limits: Limits) -> bool:
    import resource

    held = resource.getrlimit(resource.RLIMIT_CPU)
    return held == (limits.cpu_s, limits.cpu_s) and not _can_raise("RLIMIT_CPU")


def _can_raise(name: str) -> bool:
    import resource

    which = getattr(resource, name)
    try:
        resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        return False
    return True


def _not_permitted(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


_PROBES: dict[str, Callable[[Limits], bool]] = {
    "files": _files_gone,
    "memory": _memory_gone,
    "network": _network_gone,
    "processes": _processes_gone,
    "time": _time_gone,
}
ENFORCEABLE = tuple(_PROBES)

"""Seccomp: a filter in the kernel that leaves a process the system calls that computing needs.

An allow-list: what is not named fails with "not permitted", so that opening a file, a socket or a
process is an error in the policy and not its death. The program is written here by hand, in the
kernel's classic BPF, for x86_64 and aarch64.

Source: seccomp(2); linux/seccomp.h, linux/bpf_common.h, linux/audit.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from dataclasses import dataclass

_LD_WORD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
# struct seccomp_data: nr, arch, instruction pointer, six arguments of 8 bytes (low word first)
_NR, _ARCH, _ARGUMENTS = 0, 4, 16
_X32_BIT = 0x40000000
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_CLONE_THREAD = 0x00010000
# ARCH_GET_XCOMP_SUPP, ARCH_GET_XCOMP_PERM, ARCH_REQ_XCOMP_PERM: matrix units (AMX)
_MATRIX_UNITS = (0x1021, 0x1022, 0x1023)

# Numbers on x86_64 and aarch64; None where the call does not exist.
PLAIN: dict[str, tuple[int, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "futex": (202, 98),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "madvise": (28, 233),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "brk": (12, 214),
    "clock_gettime": (228, 113),
    "sched_yield": (24, 124),
    "readv": (19, 65),
    "writev": (20, 66),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "poll": (7, None),
    "ppoll": (271, 73),
    "mincore": (27, 232),
    "membarrier": (324, 283),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "sysinfo": (99, 179),
    "getcpu": (309, 168),
    "sched_getaffinity": (204, 123),
    "getrandom": (318, 278),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "set_tid_address": (218, 96),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
# Allowed with some arguments only (``_conditional``), or refused in a way of their own.
TGKILL, CLONE, CLONE3 = (234, 131), (56, 220), (435, 435)
PRLIMIT64, ARCH_PRCTL = (302, 261), (158, None)
_SECCOMP = (317, 277)


@dataclass(frozen=True)
class Machine:
    """A processor family.

    Attributes:
        place: of its numbers in the tables above.
        audit: its name in the kernel (AUDIT_ARCH_*).
    """

    place: int
    audit: int


MACHINES = {"x86_64": Machine(0, 0xC000003E), "aarch64": Machine(1, 0xC00000B7)}


def install() -> bool:
    """Put the filter on every thread of this process, for good; tell whether the kernel did."""
    machine = MACHINES.get(platform.machine())
    if machine is None or not sys.platform.startswith("linux"):
        return False
    raw = program(machine, os.getpid())
    code = ctypes.create_string_buffer(raw, len(raw))
    # struct sock_fprog: a count and a pointer, padded as the machine pads them
    fprog = struct.pack("HP", len(raw) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SECCOMP[machine.place]
    arguments = _SET_MODE_FILTER, _ALL_THREADS
    return libc.syscall(*map(ctypes.c_long, (number, *arguments)), fprog) == 0


def program(machine: Machine, pid: int) -> bytes:
    """Return the filter as the kernel reads it, 8 bytes per instruction.

    Args:
        machine: where it will run.
        pid: of the process; it may signal itself and no other.
    """
    code = [_load(_ARCH), (_JEQ, 1, 0, machine.audit), _refuse(errno.EPERM), _load(_NR)]
    if machine.place == 0:  # the x32 calling convention has numbers of its own
        code += [(_JGE, 0, 1, _X32_BIT), _refuse(errno.EPERM)]
    for numbers in PLAIN.values():
        code += _when(numbers[machine.place], [_allow()])
    for numbers, body in _conditional(pid):
        code += _when(numbers[machine.place], body)
    return b"".join(struct.pack("<HBBI", *one) for one in [*code, _refuse(errno.EPERM)])


_Instruction = tuple[int, int, int, int]


def _conditional(pid: int) -> list[tuple[tuple[int, int | None], list[_Instruction]]]:
    refuse, allow = _refuse(errno.EPERM), _allow()
    matrix = [one for code in _MATRIX_UNITS for one in ((_JEQ, 0, 1, code), allow)]
    return [
        # a thread, never a process
        (CLONE, [_load(_low(0)), (_JSET, 0, 1, _CLONE_THREAD), allow, refuse]),
        # its flags lie in memory, which a filter cannot read; libraries then fall back to clone
        (CLONE3, [_refuse(errno.ENOSYS)]),
        (TGKILL, [_load(_low(0)), (_JEQ, 0, 1, pid), allow, refuse]),
        # limits may be read (of this process, no new ones), never changed
        (
            PRLIMIT64,
            [
                _load(_low(0)),
                (_JEQ, 0, 5, 0),
                _load(_low(2)),
                (_JEQ, 0, 3, 0),
                _load(_high(2)),
                (_JEQ, 0, 1, 0),
                allow,
                refuse,
            ],
        ),
        (ARCH_PRCTL, [_load(_low(0)), *matrix, refuse]),
    ]


def _when(number: int | None, body: list[_Instruction]) -> list[_Instruction]:
    return [] if number is None else [(_JEQ, 0, len(body), number), *body]


def _load(offset: int) -> _Instruction:
    return _LD_WORD, 0, 0, offset


def _low(argument: int) -> int:
    return _ARGUMENTS + 8 * argument


def _high(argument: int) -> int:
    return _low(argument) + 4


def _allow() -> _Instruction:
    return _RET, 0, 0, _ALLOW


def _refuse(error: int) -> _Instruction:
    return _RET, 0, 0, _ERRNO | error

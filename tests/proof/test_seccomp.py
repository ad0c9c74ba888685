"""The filter, run by an interpreter of a few lines, decides as the table says, on both machines."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armillary.proof import seccomp

PID = 4321
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
REFUSED = ERRNO | errno.EPERM
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
CONDITIONAL = {
    "tgkill": seccomp.TGKILL,
    "clone": seccomp.CLONE,
    "clone3": seccomp.CLONE3,
    "prlimit64": seccomp.PRLIMIT64,
    "arch_prctl": seccomp.ARCH_PRCTL,
}
WORDS = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, PID, 0x10000, 0x1023, 1 << 32])


def run(program: bytes, nr: int, audit: int, arguments: list[int]) -> int:
    """The kernel's classic BPF, as far as the filter uses it."""
    data = struct.pack("<IIQ6Q", nr, audit, 0, *arguments)
    code = list(struct.iter_unpack("<HBBI", program))
    at, word = 0, 0
    while True:
        what, if_so, if_not, k = code[at]
        at += 1
        if what == 0x06:  # return
            return k
        if what == 0x20:  # load a word
            (word,) = struct.unpack_from("<I", data, k)
        elif what in (0x15, 0x35, 0x45):
            held = {0x15: word == k, 0x35: word >= k, 0x45: bool(word & k)}[what]
            at += if_so if held else if_not
        else:
            raise AssertionError(f"no such instruction: {what:#x}")


def expected(place: int, nr: int, arguments: list[int]) -> int:
    low = [one & 0xFFFFFFFF for one in arguments]
    numbers = {row[place] for row in seccomp.PLAIN.values() if row[place] is not None}
    if nr in numbers:
        return ALLOW
    if nr == seccomp.CLONE3[place]:
        return ERRNO | errno.ENOSYS
    fine = {
        seccomp.CLONE[place]: bool(low[0] & 0x10000),
        seccomp.TGKILL[place]: low[0] == PID,
        seccomp.PRLIMIT64[place]: low[0] == 0 and arguments[2] == 0,
        seccomp.ARCH_PRCTL[place]: low[0] in (0x1021, 0x1022, 0x1023),
    }
    return ALLOW if fine.get(nr, False) else REFUSED


@pytest.mark.parametrize("name", sorted(seccomp.MACHINES))
def test_every_number_is_decided_as_the_table_says(name):
    machine = seccomp.MACHINES[name]
    program = seccomp.program(machine, PID)
    assert len(program) % 8 == 0 and len(program) // 8 <= 4096  # the kernel's limit
    for nr in range(600):
        decided = run(program, nr, machine.audit, [0] * 6)
        assert decided == expected(machine.place, nr, [0] * 6)


@pytest.mark.parametrize("name", sorted(seccomp.MACHINES))
@given(data=st.data())
def test_arguments_are_decided_as_the_table_says(name, data):
    machine = seccomp.MACHINES[name]
    numbers = [row[machine.place] for row in CONDITIONAL.values()]
    nr = data.draw(st.sampled_from([n for n in numbers if n is not None]) | st.integers(0, 600))
    arguments = data.draw(st.lists(WORDS, min_size=6, max_size=6))
    decided = run(seccomp.program(machine, PID), nr, machine.audit, arguments)
    assert decided == expected(machine.place, nr, arguments)


@pytest.mark.parametrize("name", sorted(seccomp.MACHINES))
def test_another_convention_is_refused_whatever_is_called(name):
    machine = seccomp.MACHINES[name]
    program = seccomp.program(machine, PID)
    others = {0x40000003, *(m.audit for m in seccomp.MACHINES.values())} - {machine.audit}
    for audit in others:  # 32-bit calls have other numbers
        assert run(program, 1, audit, [0] * 6) == REFUSED
    if name == "x86_64":
        assert run(program, 0x40000000, machine.audit, [0] * 6) == REFUSED


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_numbers_are_those_of_the_kernels_own_header(name):
    if not HEADERS[name].is_file():
        pytest.skip("the kernel's headers are not installed here")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[name].read_text())
    known = {call: int(number) for call, number in found}
    place = seccomp.MACHINES[name].place
    for call, row in {**seccomp.PLAIN, **CONDITIONAL}.items():
        assert row[place] == known.get(call), call

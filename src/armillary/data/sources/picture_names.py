"""Picture names: what the names of a folder of pictures tell about time.

A name is ``number-microseconds`` (Redwood), or holds a time (seconds with a fraction; seconds and
nanoseconds, nine digits; whole seconds, milli-, micro- or nanoseconds since 1970), or else the
number of a frame, 30 a second. Where numbers of a name tell another order than its time, or two
pictures have the same, the folder is refused: a wrong time brings the depth of another moment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Int64

from armillary.core.errors import FormatError
from armillary.data.sources.stamps import nanoseconds

FPS = 30  # of the Structure and PrimeSense sensors
_REDWOOD = re.compile(r"(\d{1,9})-(\d+)")
_SECONDS = re.compile(r"(?<![A-Za-z\d.])\d+\.\d+(?![A-Za-z\d.])")
_PARTS = re.compile(r"(?<!\d)(\d{10})[-_](\d{9})(?!\d)")
_UNITS_NS = {10: 1_000_000_000, 13: 1_000_000, 16: 1_000, 19: 1}  # by digits, since 1970
_LONGEST_NS = 600 * 1_000_000_000  # between times since 1970, in the middle
_LONGEST_FRAMES = 1000
_LATEST_NS = 1 << 62


def times_ns(stems: Sequence[str], where: str) -> Int64[np.ndarray, " T"]:
    """Return the time that each name tells.

    Args:
        stems: names without their ends, in any order.
        where: the folder, for sentences.

    Raises:
        FormatError: a name without a number, two of the same time, or an order that is not clear.
    """
    odd = next((stem for stem in stems if not re.search(r"\d", stem)), "" if stems else "nothing")
    if odd:
        raise FormatError(f"{where}: numbered pictures (0.png, 1.png) were expected, got {odd}.")
    times = _redwood(stems, where) or _stamped(stems, where) or _counted(stems, where)
    if max(map(abs, times)) >= _LATEST_NS or len({*times}) < len(times):
        raise _unclear(where, stems)
    return np.array(times, np.int64)


def _redwood(stems: Sequence[str], where: str) -> list[int] | None:
    """Return times of ``number-microseconds``; poses go by the numbers, so times must, too."""
    found = [_REDWOOD.fullmatch(stem) for stem in stems]
    parts = [(int(match[1]), int(match[2])) for match in found if match]
    if len(parts) < len(stems):
        return None
    ordered = sorted(parts)
    numbers, micros = zip(*ordered, strict=True)
    if len({*numbers}) < len(numbers) or [*micros] != sorted(micros):
        raise FormatError(
            f"{where}: in the names number-microseconds a number repeats, or the time runs back; "
            "cut the recording there."
        )
    return [time * 1000 for _, time in parts]


def _stamped(stems: Sequence[str], where: str) -> list[int] | None:
    """Return times where every name holds one in seconds, with what is below a second."""
    for form in (_SECONDS, _PARTS):
        found = [form.findall(stem) for stem in stems]
        if not all(len(times) == 1 for times in found):
            continue
        taken_ns = [_time_ns(times[0], stem) for times, stem in zip(found, stems, strict=True)]
        others = [_numbers(form.sub(" ", stem)) for stem in stems]
        ordered = [time for _, time in sorted(zip(others, taken_ns, strict=True))]
        if any(one >= other for one, other in pairwise(ordered)):
            raise _unclear(where, stems)
        return taken_ns
    return None


def _time_ns(time: str | tuple[str, str], stem: str) -> int:
    if isinstance(time, str):
        return nanoseconds(time, stem)
    return int(time[0]) * 1_000_000_000 + int(time[1])


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _counted(stems: Sequence[str], where: str) -> list[int]:
    """Return times by the one number of each name that tells them, a time or a frame."""
    names = [_numbers(stem) for stem in stems]
    width = len(names[0])
    if any(len(name) != width for name in names):
        raise _unclear(where, stems)
    differing = [at for at in range(width) if len({name[at] for name in names}) > 1]
    chosen = [name[differing[-1] if differing else -1] for name in names]
    ordered = [number for _, number in sorted(zip(names, chosen, strict=True))]
    if any(one >= other for one, other in pairwise(ordered)):
        raise _unclear(where, stems)
    digits = {len(str(number)) for number in chosen}
    unit_ns = _UNITS_NS.get(digits.pop()) if len(digits) == 1 else None
    gap = sorted(other - one for one, other in pairwise(ordered))
    middle = gap[len(gap) // 2] if gap else 0
    if middle > (_LONGEST_FRAMES if unit_ns is None else _LONGEST_NS // unit_ns):
        raise _unclear(where, stems)
    if unit_ns is not None:
        return [number * unit_ns for number in chosen]
    return [round(number * 1_000_000_000 / FPS) for number in chosen]


def _unclear(where: str, stems: Sequence[str]) -> FormatError:
    shown = ", ".join(sorted(stems)[:3])
    return FormatError(
        f"{where}: the names of its pictures ({shown}, ...) tell no order in time. Expected is one "
        "number a picture (of the frame, 30 a second), number-microseconds, or a time in seconds "
        "with a fraction or in whole s, ms, us or ns since 1970."
    )

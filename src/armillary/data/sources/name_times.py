"""Name times: when clouds or pictures were taken, by the names of their files.

A name tells a time if it holds exactly one: seconds since 1970 with a fraction, seconds and nine
digits of nanoseconds, or whole seconds, milli-, micro- or nanoseconds since 1970. A name that is
nothing but seconds with three digits or more of a fraction tells one on any clock. So does a date
with a time of day to the second (2024-01-31-12-00-59, 20240131_120059), with three, six or nine
digits of a fraction or without; it is taken as UTC, since only differences count. Where one
repeats, as the start of a recording does, dates tell nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from jaxtyping import Int64

from armillary.core.errors import FormatError
from armillary.data.sources.stamps import nanoseconds

# What is said of files whose names tell times, and of those whose names tell none.
TIMED = "times are from the names of the files; more than three periods without one cut an episode"
ADVICE = (
    "say with --fps how many there are in a second, or put the time into their names "
    "(1317617735.123456: seconds since 1970; or 2024-01-31-12-00-59)."
)
_FRACTION = re.compile(r"(?<![\d.])\d{10}\.\d{1,9}(?![\d.])|^\d{1,9}\.\d{3,9}$")
_PARTS = re.compile(r"(?<!\d)\d{10}[-_]\d{9}(?!\d)")
_WHOLE = re.compile(r"(?<!\d)(?:\d{19}|\d{16}|\d{13}|\d{10})(?!\d)")
_DATE = re.compile(
    r"(?<!\d)20\d\d[-_.]?[01]\d[-_.]?[0-3]\d[-_.T ]?[0-2]\d[-_.:]?[0-5]\d[-_.:]?[0-5]\d"
    r"(?:[-_.,](?:\d{9}|\d{6}|\d{3}))?(?!\d)"
)
_UNITS_NS = {10: 1_000_000_000, 13: 1_000_000, 16: 1_000, 19: 1}  # by digits, since 1970
# Other numbers of ten digits or more are counters: KITTI's are padded with zeros.
_FROM_S, _TO_S = 946_684_800, 4_102_444_800  # the years 2000 and 2100


def times_ns(stems: Sequence[str], where: str) -> Int64[np.ndarray, " T"] | None:
    """Return the time that each name tells in nanoseconds, or None where one of them tells none.

    Args:
        stems: names without their ends, in any order.
        where: the folder, for sentences.

    Raises:
        FormatError: two tell the same time, or other numbers in them tell another order.
    """
    for form in (_FRACTION, _PARTS, _WHOLE, _DATE):
        found = [form.findall(stem) for stem in stems]
        if not all(len(times) == 1 for times in found):
            continue
        texts = [times[0] for times in found]
        read = _of_date if form is _DATE else _since_1970
        taken_ns = [read(text, where) for text in texts]
        if None in taken_ns or (form is _WHOLE and len({*map(len, texts)}) > 1):
            continue
        if form is _DATE and len({*taken_ns}) < len(taken_ns):
            continue  # when the recording began, or too coarse
        others = [_numbers(form.sub(" ", stem)) for stem in stems]
        return _checked(np.array(taken_ns, np.int64), others, where)
    return None


def _since_1970(text: str, where: str) -> int | None:
    if "." in text:
        time_ns = nanoseconds(text, where)
        return time_ns if len(text.split(".")[0]) < 10 else _plausible(time_ns)
    digits = re.sub(r"\D", "", text)
    return _plausible(int(digits) * _UNITS_NS[len(digits)])


def _of_date(text: str, where: str) -> int | None:
    digits = re.sub(r"\D", "", text)
    try:
        second = datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:  # the 31st of February
        return None
    return int(second.timestamp()) * 1_000_000_000 + int(digits[14:].ljust(9, "0"))


def _plausible(time_ns: int) -> int | None:
    return time_ns if _FROM_S <= time_ns // 1_000_000_000 < _TO_S else None


def _checked(
    taken_ns: Int64[np.ndarray, " T"], others: Sequence[list[int]], where: str
) -> Int64[np.ndarray, " T"]:
    if len(np.unique(taken_ns)) < len(taken_ns):
        raise FormatError(f"{where}: two of its files are of the same time by their names.")
    in_time = [others[at] for at in np.argsort(taken_ns)]
    if any(one > other for one, other in pairwise(in_time)):
        raise FormatError(
            f"{where}: the times in its names run in another order than their other numbers; keep "
            "only one of them in the names."
        )
    return taken_ns


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d{1,18}", text)]

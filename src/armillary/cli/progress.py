"""Progress on stderr: a bar on a terminal, a line now and then in logs and pipes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from armillary.core.progress import Progress

_LINE_EVERY_S = 10.0


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """Yield a ``Progress`` that draws on stderr; the bar goes away when the work ends.

    Args:
        what: the verb in front of the bar, e.g. ``"recording"``.
    """
    if not sys.stderr.isatty():
        yield lines(what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=1, note="")

        def report(done: int, total: int, note: str = "") -> None:
            bars.update(task, completed=done, total=max(total, 1), note=note)

        yield report


def lines(what: str) -> Progress:
    """Return a ``Progress`` that writes a line every ten seconds, for logs and pipes."""
    began = last = time.monotonic()

    def report(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _LINE_EVERY_S:
            return
        last = now
        remark = f"  {note}" if note else ""
        print(
            f"{what} {done:,}/{total:,}  {now - began:.0f} s{remark}", file=sys.stderr, flush=True
        )

    return report


def note(sentence: str) -> None:
    """Say a sentence on stderr."""
    print(sentence, file=sys.stderr, flush=True)

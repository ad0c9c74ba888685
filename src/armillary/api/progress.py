"""Progress: a bar in a terminal or a notebook, a line now and then in logs and pipes.

Nothing heavy is imported before there is something to draw.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from html import escape
from typing import Any

from armillary.core.progress import Progress, silent

_LINE_EVERY_S = 10.0
_DRAW_EVERY_S = 0.2


def progress_of(
    what: str, asked: bool | Progress | None = None
) -> AbstractContextManager[Progress]:
    """Return the progress of a function of the API.

    Args:
        what: the verb in front of the bar, e.g. ``"recording"``.
        asked: True or False turns it on or off; None turns it on in a notebook and on a terminal;
            a ``Progress`` is called.
    """
    if asked is None:
        asked = in_notebook() or sys.stderr.isatty()
    if not isinstance(asked, bool):
        return nullcontext(asked)
    if not asked:
        return nullcontext(silent)
    return notebook_bar(what) if in_notebook() else bar(what)


def in_notebook() -> bool:
    """Tell whether the code runs in a kernel whose output is a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def notebook_bar(what: str) -> Iterator[Progress]:
    """Yield a ``Progress`` that draws in the output of a notebook's cell, and goes away at the end.

    Args:
        what: the verb in front of the bar.
    """
    from IPython.display import HTML, display

    handle: Any = display(HTML(_bar_html(what, 0, 1, "")), display_id=True)
    last = time.monotonic()

    def report(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _DRAW_EVERY_S:
            last = now
            handle.update(HTML(_bar_html(what, done, total, note)))

    try:
        yield report
    finally:
        handle.update(HTML(""))


def _bar_html(what: str, done: int, total: int, note: str) -> str:
    total = max(total, 1)
    return (
        f'<div style="font-size:.9em">{escape(what)} '
        f'<progress value="{done}" max="{total}" style="vertical-align:middle"></progress> '
        f"{done:,}/{total:,} <span style='opacity:.65'>{escape(note)}</span></div>"
    )


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

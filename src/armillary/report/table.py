"""The result table for a terminal: the same rows as the page's."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from armillary.report.contents import ResultGroup, ResultRow
from armillary.report.words import write_interval, write_value, write_verdict


def print_results(results: Sequence[ResultGroup], console: Console | None = None) -> None:
    """Print result groups as one table.

    Args:
        results: as in ``ReportContents``.
        console: where to; standard output if None.
    """
    console = console or Console(highlight=False)
    for group in results:
        console.print(result_table(group))


def result_table(group: ResultGroup) -> Table:
    """Return a table: measured, model, 95 % interval, what stands beside it, wanted."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    table.title, table.title_justify, table.title_style = escape(group.title), "left", "bold"
    table.add_column("measured", ratio=5)
    table.add_column("model", justify="right", style="bold", width=10)
    table.add_column("95 %", width=16)
    table.add_column("beside it", ratio=4)
    table.add_column("wanted", ratio=3)
    for row in group.rows:
        table.add_row(*_cells(row))
    table.add_row("")
    return table


def _cells(row: ResultRow) -> tuple[str, ...]:
    beside = ", ".join(f"{floor.name} {write_value(floor.value, row.form)}" for floor in row.floors)
    count = f" [dim](n = {row.n:,})[/dim]" if row.n is not None else ""
    colour = {True: "green", False: "red", None: "default"}[row.held]
    verdict = f" [{colour}]{write_verdict(row)}[/{colour}]" if row.held is not None else ""
    return (
        f"{escape(row.name)}{count}",
        write_value(row.value, row.form),
        write_interval(row.interval, row.form),
        escape(beside),
        escape(row.wanted) + verdict,
    )

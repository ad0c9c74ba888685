"""Tables: the rows that a person reads of an evaluation or a probe, in terminal and notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TableRow = Mapping[str, str]


def evaluation_rows(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a line for each policy; crashes are a column where there are any.

    Args:
        rows: of ``evaluation.Row.to_dict``, by the name of the policy.
    """
    crashed = any(row["crashes"] for row in rows.values())
    return [
        _evaluation_row(name, row) | ({"crashed": str(row["crashes"])} if crashed else {})
        for name, row in rows.items()
    ]


def _evaluation_row(name: str, row: Mapping[str, Any]) -> dict[str, str]:
    low, high = row["wilson95"]
    ms = row["ms_per_decision"]
    return {
        "policy": name,
        "n": str(row["n"]),
        "success": f"{100 * row['success']:.0f} %",
        "95 % interval": f"{100 * low:.0f} to {100 * high:.0f} %",
        "first hit": f"{100 * row['first_hit_success']:.0f} %",
        "ms/decision": "" if ms is None else f"{ms:.1f}",
    }


def probe_rows(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a line for each target: R2 of the model's latents, then of its controls.

    Args:
        found: of ``services.asking.probe_model``, by the name of the target.
    """
    return [
        {
            "target": name,
            "R2": f"{row['r2']:.3f}",
            "R2 small MLP": f"{row['r2_mlp']:.3f}",
            "R2 untrained": f"{row['r2_untrained']:.3f}",
            "R2 shuffled": f"{row['r2_shuffled']:.3f}",
            "error": f"{row['error_m']:.4f}",
        }
        for name, row in found.items()
    ]


def text_table(rows: Sequence[TableRow]) -> str:
    """Return rows as aligned text: names to the left, numbers to the right."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )

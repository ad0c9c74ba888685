"""Write the tables of rules, attacks and proven results into their pages; --check only compares.

The results are those of the scorecards below results/proof, which `make verify` checks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

from armillary.proof.rows import tuned
from armillary.proof.scorecard import read_card
from armillary.proof.verify.verdict import CHECKS
from armillary.services.attacks import EVERY_ATTACK

ROOT = Path(__file__).parents[1]
PROOFS = ROOT / "results" / "proof"
FLOORS = ("random", "noop", "oracle")


def rules() -> Iterator[str]:
    """Yield the table of rules."""
    yield from ("| rule | level | holds against |", "| --- | --- | --- |")
    yield from (f"| `{c.name}` | {c.level} | {c.about} |" for c in CHECKS if c.needed)
    yield from ("", "Reported, never decisive:", "")
    yield from ("| warning | level | about |", "| --- | --- | --- |")
    yield from (f"| `{c.name}` | {c.level} | {c.about} |" for c in CHECKS if not c.needed)


def attacks() -> Iterator[str]:
    """Yield the table of attacks."""
    yield from ("| attack | levels | ends | by this rule alone |", "| --- | --- | --- | --- |")
    for one in EVERY_ATTACK:
        levels = (
            "0 and 4"
            if one.levels == (0, 4)
            else ("0" if max(one.levels) == 0 else f"0 to {max(one.levels)}")
        )
        number = f" ({one.number})" if one.number else ""
        alone = f"`{one.alone}`" if one.alone else ""
        yield f"| {one.about}{number} | {levels} | {one.expected} | {alone} |"


def proven() -> Iterator[str]:
    """Yield the table of committed scorecards."""
    yield "| task of a suite | solved at the end (exact 95 %) | random | no-op | oracle | of what |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for path in sorted(PROOFS.glob("*/run/scorecard.json")):
        card = read_card(path).value
        suite, attempts, seed = card["suite"]["id"], card["attempts"]["k"], card["seed"]
        name = path.parents[1].name
        for row in card["rows"]:
            low, high = (Decimal(limit) * 100 for limit in row["ci95"])
            limits = f"{_tenths(low, ROUND_FLOOR)} to {_tenths(high, ROUND_CEILING)} %"
            rate = f"{row['succ']} of {row['n']} ({limits})"
            floors = " | ".join(_floor(row["controls"].get(name)) for name in FLOORS)
            about = f"`results/proof/{name}`: attempt {attempts}, {seed['label']} seeds"
            about += f"; {tuned(row)}" if tuned(row) else ""
            yield f"| `{suite}`: {row['task']} | {rate} | {floors} | {about} |"


def _tenths(value: Decimal, rounding: str) -> Decimal:
    return value.quantize(Decimal("0.1"), rounding)


def _floor(counts: dict[str, int] | None) -> str:
    return f"{counts['succ']} of {counts['n']}" if counts else ""


def filled(text: str, mark: str, lines: Iterator[str]) -> str:
    """Return a page with the lines between its two marks."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + "\n".join(lines) + "\n" + end + after


def main() -> int:
    """Write or compare."""
    wrong = []
    for page, mark, lines in (
        ("docs/how-to/verifying.md", "rules", rules()),
        ("docs/reference/threat-model.md", "attacks", attacks()),
        ("docs/results.md", "proven", proven()),
    ):
        path = ROOT / page
        text = path.read_text()
        new = filled(text, mark, lines)
        if new != text and "--check" in sys.argv:
            wrong.append(page)
        elif new != text:
            path.write_text(new)
    if wrong:
        sys.stderr.write(f"{', '.join(wrong)}: run python tools/proof_tables.py\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())

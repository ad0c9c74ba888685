"""Print the words and the median sentence of Markdown pages: README.md, or those that are named.

    .venv/bin/python tools/readability.py README.md docs/results.md

Words are counted as ``wc -w`` does. Sentences are those of running text and lists: code, tables,
headings and pictures are left out, and a link counts as the words that it shows.
"""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def words(text: str) -> int:
    """Return how many words a page has, as ``wc -w`` counts them."""
    return len(text.split())


def sentences(text: str) -> list[str]:
    """Return the sentences of a page."""
    text = re.sub(r"^```.*?^```", "\n", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "\n", text, flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    lines = ["" if re.match(r"\s*(#|\|)", line) else line for line in text.splitlines()]
    lines = [re.sub(r"^\s*([-*]|\d+\.)\s+", "\n", line) for line in lines]
    found = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        plain = re.sub(r"[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}", "", " ".join(paragraph.split()))
        found += re.split(r"(?<=[.!?])\s+", plain)
    return [one for one in found if re.search(r"[^\W\d_]", one)]


def median_sentence(text: str) -> float:
    """Return the median length of a page's sentences, in words; 0 where there are none."""
    lengths = [words(one) for one in sentences(text)]
    return statistics.median(lengths) if lengths else 0.0


def main() -> int:
    """Print a line for every page."""
    for name in sys.argv[1:] or ["README.md"]:
        text = (ROOT / name).read_text()
        longest = max(map(words, sentences(text)), default=0)
        sys.stdout.write(
            f"{name}: {words(text)} words, median sentence {median_sentence(text):g} words, "
            f"longest {longest}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

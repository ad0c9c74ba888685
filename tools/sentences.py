"""Print how long the sentences of a page are; exit 1 where the median is above the limit.

    python tools/sentences.py                     README and the tutorial pages
    python tools/sentences.py docs/index.md       these pages

Counted is prose: paragraphs, list items and the text of notes. Tables, code blocks, headings,
pictures, HTML comments and API directives are not. A link counts as the words that it shows, code
in a line as one word.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
LIMIT = 18  # words, of the median sentence
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "quickstart.md",
    *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
)
_NOT_PROSE = ("#", "|", "<", ":::", "!!!", "???", "![", "---")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+")
# a full stop, question mark or exclamation mark that ends a sentence: what follows begins one
_END = re.compile(r"(?<=[.!?])[\")*_]*\s+(?=[\"(*_`\[A-Z0-9])|:\s*$")
_WORD = re.compile(r"\w+(?:[-.,'’/]\w+)*")
_ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|vs|cf|approx|Fig|etc)\.")


def blocks(text: str) -> list[str]:
    """Return the paragraphs and list items of a Markdown text, each in one line."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^( *)(```|~~~).*?^\1\2\s*$", "\n", text, flags=re.DOTALL | re.MULTILINE)
    found: list[str] = []
    open_block = False
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith(_NOT_PROSE):
            open_block = False
        elif open_block and not _ITEM.match(line):
            found[-1] += " " + line.strip()
        else:
            found.append(_ITEM.sub("", line).strip())
            open_block = True
    return found


def plain(block: str) -> str:
    """Return the words that a reader sees: a link's text, and inline code as one word."""
    block = re.sub(r"!\[[^\]]*\]\([^)]*\)(\{[^}]*\})?", "", block)
    block = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", block)
    block = re.sub(r"`[^`]*`", "code", block)
    block = re.sub(r"https?://\S+", "address", block)
    return _ABBREVIATIONS.sub(lambda match: match[1].replace(".", ""), block.replace("**", ""))


def words(text: str) -> int:
    """Return how many words a text has, as ``wc -w`` counts them."""
    return len(text.split())


def sentences(text: str) -> list[str]:
    """Return the sentences of a Markdown text."""
    every = (one for block in blocks(text) for one in _END.split(plain(block)))
    return [one for one in every if _WORD.search(one)]


def lengths(text: str) -> list[int]:
    """Return the number of words of every sentence of a Markdown text."""
    return [len(_WORD.findall(one)) for one in sentences(text)]


def main(names: list[str]) -> int:
    """Print a line for each page; return 1 if a median is above the limit."""
    too_long = False
    for page in [Path(name) for name in names] or PAGES:
        text = page.read_text()
        counts = lengths(text)
        if not counts:
            sys.exit(f"{page}: has no sentence; name a Markdown page with prose.")
        middle = median(counts)
        too_long |= middle > LIMIT
        name = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page
        sys.stdout.write(
            f"{middle:5.1f} words (median), longest {max(counts):3d}, {len(counts):3d} sentences, "
            f"{words(text):5d} words  {name}\n"
        )
    return int(too_long)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

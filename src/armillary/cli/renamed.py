"""Renamed: commands and flags that had another name still work, and stderr names the new one.

Commands that are kept with results are given again as they were printed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

# Old name by command; what follows a dot or an equals sign stays.
_FLAGS = {
    "armillary train": {"--settling": "--finetune"},
    "armillary proof contam": {"--seen": "--training"},
    "armillary bench latency": {"--beside": "--others"},
    "armillary bench spatial": {"--arms": "--variants", "--arms-only": "--variants-only"},
}


def with_new_names(words: Sequence[str], prog: str) -> list[str]:
    """Return the words after a command with the present names of its flags.

    Args:
        words: what follows ``prog`` on the command line.
        prog: how the command is called, e.g. ``armillary bench spatial``.
    """
    known = {}
    for command, flags in _FLAGS.items():
        if f"{prog} ".startswith(f"{command} "):
            known = flags
    return [_with_new_name(word, known) for word in words]


def moved(words: Sequence[str], group: str) -> list[str]:
    """Return the words of a command that now stands in another group.

    Args:
        words: what follows ``armillary``, e.g. ``bench verify``.
        group: where it stands now.
    """
    new = [group, *words[1:]]
    print(f"{' '.join(words[:2])} is now called {' '.join(new[:2])}.", file=sys.stderr)
    return new


def _with_new_name(word: str, known: dict[str, str]) -> str:
    head = re.split("[.=]", word, maxsplit=1)[0]
    new = known.get(head.replace("_", "-"))
    if new is None:
        return word
    flag = word.partition("=")[0]
    print(f"{flag} is now called {new}{flag[len(head) :]}.", file=sys.stderr)
    return new + word[len(head) :]

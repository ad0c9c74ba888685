"""Asking people: the quadruplets' own questions, as pairs that begin alike, for anybody's data.

No answers of people are claimed here; the page makes a CSV file of them.
"""

from __future__ import annotations

from pathlib import Path

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.report.people import Question, write_people_page
from armillary.understanding.suites.quadruplets import CONCEPTS, SEEDS, make_quadruplet


def ask_people(out: Path, each: int = 2, seed: int = 0) -> Path:
    """Write the page with pairs of every concept that pictures alone decide, from DEV.

    Args:
        out: the file.
        each: pairs of every concept.
        seed: of order, context and sides.

    Returns:
        The file.

    Raises:
        ConfigError: no pairs, or too many.
        StorageError: not writable.
    """
    if not 1 <= each <= 48:
        raise ConfigError(f"The page has 1 to 48 pairs per concept, got {each}.")
    rng = generator("asking people", seed)
    questions = []
    # how the camera is moved cannot be seen, so a person cannot be asked about ``spatial``
    for concept in (name for name, one in CONCEPTS.items() if one.kind != "exchanged"):
        for index in rng.choice(48, each, replace=False).tolist():
            made, context = make_quadruplet(concept, index, SEEDS["dev"]), int(rng.integers(2))
            possible, impossible = (made.frames[context, (context + odd) % 2] for odd in (0, 1))
            on_left = bool(rng.integers(2))
            left, right = (impossible, possible) if on_left else (possible, impossible)
            side = "left" if on_left else "right"
            questions.append(Question(concept, index, context, left, right, side))
    order = rng.permutation(len(questions))
    return write_people_page([questions[place] for place in order], "DEV", SEEDS["dev"], out)

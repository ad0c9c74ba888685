"""Draw docs/images/quadruplets.png: the four clips of some concepts, every third step.

.venv/bin/python tools/quadruplet_picture.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from armillary.understanding.suites.quadruplets import SEEDS, make_quadruplet

CONCEPTS = ("permanence_moving", "colour", "continuity_lane", "solidity")
CELLS = ((0, 0), (1, 1), (0, 1), (1, 0))
OUT = Path(__file__).parents[1] / "docs" / "images" / "quadruplets.png"
GAP, EDGE, IMPOSSIBLE = 10, 2, (196, 62, 48)


def main() -> None:
    """Draw and save."""
    blocks = []
    for concept in CONCEPTS:
        made = make_quadruplet(concept, 0, SEEDS["dev"])
        rows = [row_of(made.frames[cell], cell[0] != cell[1]) for cell in CELLS]
        blocks += [np.concatenate(rows), np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)]
    Image.fromarray(np.concatenate(blocks[:-1])).save(OUT, optimize=True)
    sys.stdout.write(f"{OUT}\n")


def row_of(clip: np.ndarray, impossible: bool) -> np.ndarray:
    """Return every third picture side by side, framed; impossible clips in red."""
    colour = np.array(IMPOSSIBLE if impossible else (255, 255, 255), np.uint8)
    pictures = []
    for picture in clip[1::3]:
        framed = np.tile(colour, (64 + 2 * EDGE, 64 + 2 * EDGE, 1))
        framed[EDGE:-EDGE, EDGE:-EDGE] = picture
        pictures.append(framed)
    return np.concatenate(pictures, axis=1)


if __name__ == "__main__":
    main()

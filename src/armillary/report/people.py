"""The page that asks a person: two clips side by side, which of them cannot be?

It is one file that loads nothing from anywhere; answers stay on the page until they are saved.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup
from PIL import Image

from armillary.report.html import fill, write_html

_MS_PER_PICTURE, _MS_AT_END = 110, 900


@dataclass(frozen=True)
class Question:
    """Two clips of one context.

    Attributes:
        concept: its name.
        index: number of the quadruplet.
        context: 0 or 1.
        left, right: the clips.
        impossible: "left" or "right".
    """

    concept: str
    index: int
    context: int
    left: UInt8[np.ndarray, "T H W 3"]
    right: UInt8[np.ndarray, "T H W 3"]
    impossible: str


def write_people_page(questions: Sequence[Question], name: str, seed: int, out: Path) -> Path:
    """Write the page.

    Args:
        questions: in the order in which they are asked.
        name: of the set they come from.
        seed: of that set.
        out: the file.

    Raises:
        StorageError: not writable.
    """
    data = [
        {
            "concept": one.concept,
            "index": one.index,
            "context": one.context,
            "impossible": one.impossible,
            "left": clip_uri(one.left),
            "right": clip_uri(one.right),
        }
        for one in questions
    ]
    page = fill(
        "people.html",
        questions=questions,
        set=name,
        seed=seed,
        # JSON inside a script: only a "<" could end it
        data=Markup(json.dumps(data).replace("<", "\\u003c")),
    )
    return write_html(page, out)


def clip_uri(clip: UInt8[np.ndarray, "T H W 3"]) -> str:
    """Return a clip as an endless, lossless ``data:image/webp`` URI that rests at its end."""
    pictures = [Image.fromarray(np.ascontiguousarray(picture)) for picture in clip]
    times = [_MS_PER_PICTURE] * (len(pictures) - 1) + [_MS_AT_END]
    file = io.BytesIO()
    pictures[0].save(
        file, "WEBP", save_all=True, append_images=pictures[1:], duration=times, loop=0,
        lossless=True,
    )  # fmt: skip
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()

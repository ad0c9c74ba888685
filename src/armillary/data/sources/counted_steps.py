"""Counted steps: what robots' demonstrations have in common that number their steps.

RLDS and the HDF5 of robomimic, Isaac Lab and ALOHA have no times: a rate makes them. They name
several cameras, and the robot's state in several parts.

Axes: T steps, Q numbers, H W image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float32, Int64

from armillary.core.errors import FormatError
from armillary.core.values import Stream
from armillary.data.encoded import decode_rgb
from armillary.data.sources.recording import Camera, Picture
from armillary.data.sources.source import IngestOptions, IngestSummary, natural
from armillary.data.sources.still_files import colour_form
from armillary.data.stills import Still

MAX_STEPS = 1_000_000  # of one episode
MAX_WIDTH = 1024  # numbers of one part of the state; more is no body but a map or an embedding
_MAX_TEXT = 200
_ON_THE_ARM = re.compile(r"wrist|hand|gripper|tool|eef")


def times_ns(steps: int, fps: float | int) -> Int64[np.ndarray, " T"]:
    """Return the time of each step from the first, in nanoseconds."""
    return np.rint(np.arange(steps) * 1e9 / fps).astype(np.int64)


def at_own_rate(options: IngestOptions) -> IngestOptions:
    """Return the options without a rate, as ``Recording.fps`` has it: no step is left out."""
    return replace(options, fps=None)


def with_notes(summary: IngestSummary, notes: Iterable[str]) -> IngestSummary:
    """Return a summary that says some sentences, each of them once."""
    return replace(summary, notes=(*summary.notes, *dict.fromkeys(notes)))


def camera_streams(names: Iterable[str]) -> dict[str, str]:
    """Return the stream of each camera, the main one first, by the name that the source has.

    Cameras that stand still come before those on the arm, and then names decide. The main one is
    the stream ``rgb``, which is what models see. A name may hold anything, and becomes that of a
    file: what is no letter, digit or underscore is left out.
    """
    ordered = sorted(
        names, key=lambda name: (name != "rgb", bool(_ON_THE_ARM.search(name)), natural(name))
    )
    streams: dict[str, str] = {}
    for name in ordered:
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:64] or "camera"
        plain = plain if streams else "rgb"
        taken = plain in streams.values()
        streams[name] = f"{plain}_{len(streams)}" if taken else plain
    return streams


def cameras_note(streams: Mapping[str, str]) -> str:
    """Say which camera is the main one, and what the others are called."""
    (main, _), *others = streams.items()
    also = f"; also {', '.join(stream for _, stream in others)}" if others else ""
    return f"Cameras: rgb is {plain_text(main)}{also}. A model sees rgb."


def joined(
    parts: Mapping[str, np.ndarray],
) -> tuple[Float32[np.ndarray, "T Q"], tuple[str, ...]]:
    """Return parts of a state [T ...] side by side in the order of their names, and these."""
    names = tuple(sorted(parts))
    rows = [np.asarray(parts[name], np.float32).reshape(len(parts[name]), -1) for name in names]
    return np.concatenate(rows, axis=1), names


def proprio(parts: Mapping[str, np.ndarray]) -> dict[str, Stream]:
    """Return the stream of a body's state, or none where there is no part of it."""
    return {"proprio": Stream("proprio", joined(parts)[0])} if parts else {}


def parts_note(what: str, widths: Mapping[str, int]) -> str:
    """Say which numbers are which part of a vector."""
    said = ", ".join(f"{plain_text(name)} ({widths[name]})" for name in sorted(widths))
    return f"{what}: {said}, in this order."


def encoded_camera(pictures: Callable[[Sequence[int]], Iterable[bytes]], where: str) -> Camera:
    """Return a colour camera of encoded pictures, which are kept as they are where they can be.

    Args:
        pictures: returns the files of some steps; zeros after the end of one are left out.
        where: what sentences call it.
    """

    def read(steps: Sequence[int], stills: bool) -> Iterator[Picture]:
        for step, file in zip(steps, pictures(steps), strict=True):
            data, name = file.rstrip(b"\0"), f"{where}, step {step}"
            form = colour_form(data, name) if stills else None
            decode = partial(decode_rgb, data, name)
            yield decode() if form is None else Still(data, form, decode)

    return Camera("rgb", read)


def is_black(data: bytes) -> bool:
    """Say whether an encoded picture is all black, as one that stands for none is."""
    try:
        return not decode_rgb(data.rstrip(b"\0"), "").any()
    except FormatError:  # reported when it is read as a step
        return False


def plain_text(text: bytes | str) -> str:
    """Return a text of a file in one line of printable letters, at most 200 of them."""
    decoded = text.decode(errors="replace") if isinstance(text, bytes) else text
    return " ".join("".join(c if c.isprintable() else " " for c in decoded[:_MAX_TEXT]).split())


def check_steps(steps: int, where: str) -> None:
    """Raise unless an episode has two steps or more, and not too many.

    Raises:
        FormatError: it has fewer than two, or more than a million.
    """
    if not 2 <= steps <= MAX_STEPS:
        raise FormatError(f"{where}: has {steps} steps; 2 to {MAX_STEPS} can be read.")

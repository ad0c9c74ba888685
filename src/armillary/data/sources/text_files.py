"""Text files of a bounded size: what lists, trajectories and calibrations are written in."""

from __future__ import annotations

from pathlib import Path

from armillary.core.errors import FormatError

MAX_TEXT_BYTES = 256 << 20


def read_text(path: Path) -> str:
    """Return a text file of bounded size.

    Raises:
        FormatError: it is missing or too large.
    """
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file; a text file was expected there.")
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise FormatError(f"{path}: larger than {MAX_TEXT_BYTES >> 20} MiB; refused as text.")
    return path.read_text(errors="replace")


def numbers(path: Path) -> list[list[float]]:
    """Return the numbers of a text file by line; comments (#) and empty lines are left out.

    Raises:
        FormatError: there is something else in it.
    """
    lines = [
        line.split("#", 1)[0].replace(",", " ").split() for line in read_text(path).split("\n")
    ]
    try:
        return [[float(word) for word in words] for words in lines if words]
    except ValueError as error:
        raise FormatError(f"{path}: only numbers were expected in it ({error}).") from error

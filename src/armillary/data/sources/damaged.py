"""Damaged: whatever a library raises for a damaged file becomes one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from armillary.core.errors import FormatError, MissingExtraError

_LETTERS = 200
# What h5py, zarr and numcodecs raise for damaged files. RuntimeError is the HDF5 library's own,
# too, and NotImplementedError is one of them.
_ERRORS = (
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)


@contextmanager
def damaged(where: str, kind: str, *more: type[Exception]) -> Iterator[None]:
    """Turn whatever is raised for a damaged file into one sentence.

    Args:
        where: file and place in it, for the sentence.
        kind: of file, for the sentence.
        more: what is raised besides the usual errors.

    Raises:
        FormatError: the file is damaged.
    """
    try:
        yield
    except (FormatError, MissingExtraError):
        raise
    except (*_ERRORS, *more) as error:
        said = " ".join(str(error).split())[:_LETTERS] or type(error).__name__
        raise FormatError(
            f"{where}: is damaged, or no {kind} that can be read ({said})."
        ) from error

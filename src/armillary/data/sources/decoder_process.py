"""Decoder process: a library that may end its whole process decodes a file in one of its own.

Decoders of compiled code can run away, or take more memory than there is, at a damaged file.
Nothing catches that in the process itself. So a small program decodes the file in a process with a
bound on memory and time, and only that one ends. It writes arrays, or prints what was wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from armillary.core.errors import FormatError

DECODER_BYTES = 4 << 30  # of address space for the process, beside what it reads
# each thread takes address space, which is what is bounded
_FEW = {"RAYON_NUM_THREADS": "4", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def decoded_apart(
    path: Path, program: str, memory: int, seconds: float, *more: str
) -> dict[str, np.ndarray]:
    """Return the arrays that a program decodes from a file.

    Args:
        path: the file.
        program: file of the program; it takes the file, the ``.npz`` to write, ``memory`` and
            ``more``, and imports nothing of armillary.
        memory: bytes that it may take.
        seconds: that it may take.
        more: further arguments.

    Raises:
        FormatError: it did not end in time, or gave up.
    """
    with TemporaryDirectory() as scratch:
        out = Path(scratch) / "points.npz"
        # -P: its own folder is no place to import from
        words = [sys.executable, "-P", program, str(path), str(out), str(memory), *more]
        try:
            done = subprocess.run(
                words, capture_output=True, timeout=seconds, check=False, env=os.environ | _FEW
            )
        except subprocess.TimeoutExpired as error:
            raise FormatError(f"{path}: its decoder did not end; it is damaged.") from error
        if done.returncode != 0 or not out.is_file():
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            said = (
                lines[-1].split(": ", 1)[-1].rstrip(".") if done.returncode == 1 and lines else ""
            )
            why = f" ({said})" if said else ""
            raise FormatError(f"{path}: is damaged or cut off; its decoder gave up{why}.")
        with np.load(out, allow_pickle=False) as columns:
            return dict(columns)

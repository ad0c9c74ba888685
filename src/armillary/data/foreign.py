"""Foreign: what datasets written by others hold that armillary's own do not.

Pictures inside parquet, depth in LeRobot's 12-bit codes, a licence in the front matter, tasks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from armillary.core.errors import FormatError
from armillary.core.values import StreamKind
from armillary.data import layout
from armillary.data.tables import read_table
from armillary.data.video import MAX_PIXELS

MAX_README_BYTES = 1 << 20


def image_frames(column: pa.ChunkedArray, kind: StreamKind) -> Iterator[np.ndarray]:
    """Yield the pictures of a parquet column of encoded images (feature dtype ``image``).

    Raises:
        FormatError: a row holds no picture that can be decoded.
    """
    for row, value in enumerate(column.to_pylist()):
        data = value.get("bytes") if isinstance(value, Mapping) else None
        how = cv2.IMREAD_COLOR_RGB if kind == "rgb" else cv2.IMREAD_UNCHANGED
        image = cv2.imdecode(np.frombuffer(data, np.uint8), how) if data else None
        if image is None or image.shape[0] * image.shape[1] > MAX_PIXELS:
            raise FormatError(f"The picture of row {row} is missing or cannot be decoded.")
        yield image.astype(np.uint16) if kind == "depth" else image


def to_depth_mm(image: np.ndarray, spec: Mapping[str, Any]) -> np.ndarray:
    """Return depth in millimetres, as it is for 16 bits, or out of LeRobot's 12-bit codes.

    Convention: code q of 4095 is ``exp(log(a+s) + q/4095 (log(b+s) - log(a+s))) - s`` metres with
    a = 0.01, b = 10, s = 3.5; code 0 is taken as invalid.
    Source: huggingface/lerobot pull request 3644 (defaults only; other ranges are read from info).
    """
    info = spec.get("info") or {}
    if "12" not in str(info.get("video.pix_fmt", "")):
        return image
    near, far, shift = (
        float(info.get(f"video.{name}", info.get(name, default)))
        for name, default in (("depth_min", 0.01), ("depth_max", 10.0), ("shift", 3.5))
    )
    low, high = np.log(near + shift), np.log(far + shift)
    depth_m = np.exp(low + image / 4095.0 * (high - low)) - shift
    return np.where(image > 0, np.rint(depth_m * 1000.0), 0).astype(np.uint16)


def tasks_of(path: Path) -> str:
    """Return what a dataset's task table names, in one line; nothing if it has none."""
    file = path / layout.TASKS
    if not file.is_file():
        return ""
    texts = [c for c in read_table(file).columns if str(c.type) in ("string", "large_string")]
    return " / ".join(str(text) for text in texts[0].to_pylist()) if texts else ""


def license_of(path: Path) -> str:
    """Return the licence that a dataset card declares, or nothing."""
    readme = path / "README.md"
    if not readme.is_file() or readme.stat().st_size > MAX_README_BYTES:
        return ""
    front = readme.read_text(errors="replace").split("---", 2)
    found = re.search(r"^license:\s*(\S+)\s*$", front[1], re.M) if len(front) == 3 else None
    return found[1] if found else ""

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
from armillary.data.depth import to_millimetres
from armillary.data.encoded import check_size, in_millimetres
from armillary.data.tables import read_table

MAX_README_BYTES = 1 << 20


def image_frames(column: pa.ChunkedArray, kind: StreamKind) -> Iterator[np.ndarray]:
    """Yield the pictures of a parquet column of encoded images (feature dtype ``image``).

    Depth of whole numbers is millimetres, of floating point metres, as LeRobot writes it.

    Raises:
        FormatError: a row holds no picture that can be decoded, or depth of 8 bits.
    """
    for row, value in enumerate(column.to_pylist()):
        data = value.get("bytes") if isinstance(value, Mapping) else None
        how = cv2.IMREAD_COLOR_RGB if kind == "rgb" else cv2.IMREAD_UNCHANGED
        image = _decoded(data, how) if data else None
        if image is None:
            raise FormatError(f"The picture of row {row} is missing or cannot be decoded.")
        yield _image_mm(image, row) if kind == "depth" else image


def _decoded(data: bytes, how: int) -> np.ndarray | None:
    try:
        check_size(data, "")  # a small file may promise a picture larger than memory
        return cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except (cv2.error, FormatError):
        return None


def to_depth_mm(image: np.ndarray, spec: Mapping[str, Any]) -> np.ndarray:
    """Return depth in millimetres, as it is for 16 bits, or out of LeRobot's 12-bit codes.

    Convention: code q of 4095 is ``exp(log(a+s) + q/4095 (log(b+s) - log(a+s))) - s`` metres with
    a = 0.01, b = 10, s = 3.5, or ``a + q/4095 (b - a)`` where ``use_log`` is false; code 0 is taken
    as invalid.
    Source: huggingface/lerobot pull request 3644 (defaults only; other ranges are read from info).

    Raises:
        FormatError: the video has neither 12 nor 16 bits, or its range is none.
    """
    info = spec.get("info") or {}
    pixels = str(info.get("video.pix_fmt", ""))
    if (unit := info.get(layout.METRES_PER_UNIT)) is not None:
        return in_millimetres(image, _unit_m(unit))
    if "16" in pixels or (not pixels and _field(info, "depth_min", None) is None):
        return image
    if pixels and "12" not in pixels:
        raise FormatError(
            f"a depth video of pixels {pixels!r} is not read; 12-bit codes or 16-bit millimetres "
            "were expected. If it is a picture of depth, set is_depth_map to false."
        )
    codes = np.asarray(image, np.float64)
    return np.where(codes > 0, to_millimetres(_decoded_m(codes, info)), 0).astype(np.uint16)


def _unit_m(unit: Any) -> float:
    if isinstance(unit, bool) or not isinstance(unit, (int, float)) or not 0 < unit < np.inf:
        raise FormatError(f"the unit of its depth, {unit!r} metres, is none.")
    return float(unit)


def _image_mm(image: np.ndarray, row: int) -> np.ndarray:
    if image.ndim != 2 or image.dtype == np.uint8:
        raise FormatError(
            f"The depth picture of row {row} is {image.dtype} {list(image.shape)}; one channel of "
            "16-bit millimetres or floating point metres was expected."
        )
    return to_millimetres(image if image.dtype.kind == "f" else image / 1000.0)


def _decoded_m(codes: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
    names = (("depth_min", 0.01), ("depth_max", 10.0), ("shift", 3.5))
    try:
        near, far, shift = (float(_field(info, name, default)) for name, default in names)
    except (TypeError, ValueError) as error:
        raise FormatError(f"the range of its depth codes is no number ({error}).") from error
    in_logs = _field(info, "use_log", True) is not False
    possible = 0 <= near < far < np.inf and np.isfinite(shift) and (near + shift > 0 or not in_logs)
    if not possible:
        raise FormatError(
            f"the range of its depth codes, {near:g} to {far:g} m with shift {shift:g}, is none."
        )
    if not in_logs:
        return near + codes / 4095.0 * (far - near)
    low, high = np.log(near + shift), np.log(far + shift)
    return np.exp(low + codes / 4095.0 * (high - low)) - shift


def _field(info: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return what a feature says under LeRobot's name or, in older files, without its prefix."""
    return info.get(f"video.{name}", info.get(name, default))


def tasks_of(path: Path) -> dict[int, str]:
    """Return the task of each episode by its number, several of one in one line.

    Args:
        path: the dataset's folder; its episode table may lack tasks, which gives none.
    """
    found: dict[int, str] = {}
    for file in sorted((path / layout.EPISODES_FOLDER).glob("*/*.parquet")):
        table = read_table(file)
        if not {"episode_index", "tasks"} <= {*table.column_names}:
            continue
        numbers, tasks = (table.column(name).to_pylist() for name in ("episode_index", "tasks"))
        for number, texts in zip(numbers, tasks, strict=True):
            texts = [texts] if isinstance(texts, str) else texts or ()
            found[int(number)] = " / ".join(str(text) for text in texts)
    return found


def license_of(path: Path) -> str:
    """Return the licence that a dataset card declares, or nothing."""
    readme = path / "README.md"
    if not readme.is_file() or readme.stat().st_size > MAX_README_BYTES:
        return ""
    front = readme.read_text(errors="replace").split("---", 2)
    found = re.search(r"^license:\s*(\S+)\s*$", front[1], re.M) if len(front) == 3 else None
    return found[1] if found else ""


def rows_columns(spec: Mapping[str, Any]) -> tuple[int, int]:
    """Return rows and columns of a camera feature; LeRobot has both [H W C] and [C H W]."""
    shape, names = spec["shape"], spec.get("names")
    first = names[0] if isinstance(names, list) and names else ""  # some name axes by a mapping
    if len(shape) == 3 and str(first).startswith("channel"):
        return shape[1], shape[2]
    return shape[0], shape[1]

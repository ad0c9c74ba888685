"""Unknown: what is said of a file or folder that no format takes.

A source says what it looks for in ``LOOKS_FOR``: the parts of a folder, each a pattern below it, a
folder with a slash at its end, alternatives with `` or `` between them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from armillary.core.errors import FormatError
from armillary.data.sources.source import files_with

MAX_FILES = 10_000  # that are counted
MAX_FOLDERS = 50  # below the folder that are searched for what came near
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_VTK = (".vtk", ".vtp", ".vtu", ".vti", ".vtr", ".vts")
# What is known by its suffix and not read, and what helps.
_ADVICE: Mapping[str, str] = {
    ".e57": "E57 is not read; convert it to LAS or PLY with CloudCompare or PDAL",
    **dict.fromkeys(_VTK, "VTK is not read; save its points as PLY in ParaView"),
    ".pcap": "packets of a scanner are not read; convert them to PCD with its maker's tool",
    **dict.fromkeys((".obj", ".stl", ".glb"), "meshes are not read; save the points as PLY"),
    **dict.fromkeys(
        _PICTURES,
        "pictures alone tell no time; make a video of them, e.g. with ffmpeg -framerate 10",
    ),
}
# Folders that are known and not read.
_KNOWN: Mapping[str, str] = {
    "label_2/": "looks like KITTI's object benchmark, whose pictures and sweeps are no sequence; "
    "take KITTI's odometry benchmark",
}


def unknown(source: Path, formats: Mapping[str, tuple[str, ...]]) -> FormatError:
    """Return the error about a path that is of no format: what came near, and what was looked for.

    Args:
        source: file or folder that exists.
        formats: what each looks for, by name; empty where it does not say.
    """
    if source.is_file():
        said = _ADVICE[source.suffix.lower()]
        return FormatError(f"{source}: {said}.")
    counted = Counter(_kind(file) for file in islice(files_with(source, ("",)), MAX_FILES))
    advice = {_ADVICE[kind]: None for kind, _ in counted.most_common() if kind in _ADVICE}
    near = [*islice(_near(source, formats), 2), *islice(advice, 2)]
    held = ", ".join(f"{count} {kind}" for kind, count in counted.most_common(5))
    known = ", ".join(formats) if near else "; ".join(_looked_for(formats))
    return FormatError(
        f"{source}: is of no format that is read{''.join(f'; {said}' for said in near)}. It holds "
        f"{f'files: {held}' if held else 'no file'}. Looked for: {known}."
    )


def has_advice(path: Path) -> bool:
    """Say whether a file is of a kind that is known and not read."""
    # FFmpeg has a sentence of its own about pictures
    return path.suffix.lower() in _ADVICE.keys() - {*_PICTURES}


def _near(source: Path, formats: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield sentences about what looks like a known folder, with the parts that are missing."""
    folders = [source, *islice((f for f in sorted(source.iterdir()) if f.is_dir()), MAX_FOLDERS)]
    for folder in folders:
        where = "" if folder == source else f"in {folder.name}, "
        for part, said in _KNOWN.items():
            if _found(folder, part):
                yield f"{where}{part} {said}"
        for name, parts in formats.items():
            found = [_found(folder, part) for part in parts]
            here = [part for part in found if part]
            missing = [part for part, is_there in zip(parts, found, strict=True) if not is_there]
            if here and missing:
                looks = "look" if len(here) > 1 else "looks"
                lack = "are" if len(missing) > 1 else "is"
                yield (
                    f"{where}{' and '.join(here)} {looks} like the format {name}, but "
                    f"{' and '.join(missing)} {lack} missing"
                )


def _found(folder: Path, part: str) -> str:
    """Return the alternative of a part that a folder has, or nothing."""
    for pattern in part.split(" or "):
        hits = folder.glob(pattern.rstrip("/"))
        if any(hit.is_dir() or not pattern.endswith("/") for hit in hits):
            return pattern
    return ""


def _looked_for(formats: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name, parts in formats.items():
        if parts:
            yield f"{name} ({', '.join(parts)})"


def _kind(file: Path) -> str:
    return file.suffix.lower() or "without a suffix"

"""Unknown: the sentence about a file or folder that no format takes.

A source says what it looks for in ``LOOKS_FOR``: the parts of a folder, each a pattern below it, a
folder with a slash at its end, alternatives with `` or `` between them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from armillary.core.errors import FormatError
from armillary.data.sources.source import files_with

MAX_FILES = 10_000  # that are counted
_MOST_READ = 4096  # bytes of a text that is looked into
_TRAJECTORY = "groundtruth.txt"  # what the format tum looks for itself
MAX_FOLDERS = 50  # below the folder that are searched for near matches
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_VTK = (".vtk", ".vtp", ".vtu", ".vti", ".vtr", ".vts")
# What is known by its suffix and not read, and what helps.
_ADVICE: Mapping[str, str] = {
    **dict.fromkeys(_VTK, "VTK is not read; save its points as PLY in ParaView"),
    ".pcap": "packets of a scanner are not read; convert them to PCD with its maker's tool",
    **dict.fromkeys((".obj", ".stl", ".glb"), "meshes are not read; save the points as PLY"),
    ".feather": "tables of Arrow are not read alone; of Argoverse 2, give the folder of a log, "
    "which holds sensors/lidar/*.feather",
}
# Folders that are known and not read, by parts of which each is there.
_KNOWN: Mapping[tuple[str, ...], str] = {
    ("frame-*.color.*",): "looks like 7-Scenes; frame-000000.depth.png and frame-000000.pose.txt "
    "were expected beside frame-000000.color.png",
    ("label_2/",): "looks like KITTI's object benchmark, whose pictures and sweeps are no "
    "sequence; take KITTI's odometry benchmark or its raw drives",
    (
        "iphone/pose_intrinsic_imu.json or */iphone/pose_intrinsic_imu.json or "
        "*/*/iphone/pose_intrinsic_imu.json or dslr/nerfstudio/ or */dslr/nerfstudio/ or "
        "*/*/dslr/nerfstudio/",
    ): "looks like ScanNet++, whose layout is not read; of a scene, copy "
    "dslr/nerfstudio/transforms_undistorted.json to "
    "dslr/resized_undistorted_images/transforms.json, and give that folder",
    (
        "color/ or rgb/ or image/",
        "depth/",
        "pose.txt or poses.txt or trajectory.txt or traj.txt",
    ): "look like RGB-D with all poses in one text, which is not read; the format rgbd reads "
    "a 4x4 matrix for each picture in pose/N.txt, or a trajectory *.log of Redwood, and pictures "
    "as PNG or JPEG",
}
_ANY_NAME = re.compile(r"\*\.[a-z]+")  # a suffix that many programs use, such as *.log


def unknown(source: Path, formats: Mapping[str, tuple[str, ...]]) -> FormatError:
    """Return the error about a path of no format: what is nearest, and what was searched for.

    Args:
        source: file or folder that exists.
        formats: what each looks for, by name; empty where it does not say.
    """
    if source.is_file():
        said = _ADVICE[source.suffix.lower()]
        return FormatError(f"{source}: {said}.")
    counted = Counter(_kind(file) for file in islice(files_with(source, ("",)), MAX_FILES))
    advice = {_ADVICE[kind]: None for kind, _ in counted.most_common() if kind in _ADVICE}
    near = [*islice(_near(source, formats), 2)] or [*islice(advice, 2)]
    held = ", ".join(f"{count} {kind}" for kind, count in counted.most_common(5))
    known = ", ".join(formats) if near else "; ".join(_looked_for(formats))
    return FormatError(
        f"{source}: is of no format that is read{''.join(f'; {said}' for said in near)}. It holds "
        f"{f'files: {held}' if held else 'no file'}. Looked for: {known}."
    )


def is_near(source: Path, formats: Mapping[str, tuple[str, ...]]) -> bool:
    """Say whether a folder looks like a known one.

    Args:
        source: the folder; a file never does.
        formats: what each looks for, by name.
    """
    return source.is_dir() and next(_near(source, formats), None) is not None


def has_advice(path: Path) -> bool:
    """Say whether a file is of a kind that is known and not read."""
    # FFmpeg has a sentence of its own about pictures
    return path.suffix.lower() in _ADVICE


def _near(source: Path, formats: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield sentences about what looks like a known folder, with the parts that are missing."""
    folders = [source, *islice((f for f in sorted(source.iterdir()) if f.is_dir()), MAX_FOLDERS)]
    for folder in folders:
        where = "" if folder == source else f"in {folder.name}, "
        known = False
        for parts, said in _KNOWN.items():
            there = [_found(folder, part) for part in parts]
            if all(there):
                known = True
                yield f"{where}{' and '.join(there)} {said}"
        for name in _trajectories(folder):
            yield (
                f"{where}{name} looks like a trajectory (t tx ty tz qx qy qz qw); the format tum "
                f"reads it as groundtruth.txt, beside rgb.txt and depth.txt with a line 't path' "
                "for each picture; poses of colour alone are read from a transforms.json of "
                "nerfstudio"
            )
        if known and folder == source:  # what lies in it belongs to it
            return
        for name, parts in formats.items() if not known else ():
            found = [_found(folder, part) for part in parts]
            here = [part for part in found if part]
            missing = [part for part, is_there in zip(parts, found, strict=True) if not is_there]
            if missing and not all(_ANY_NAME.fullmatch(part) for part in here):
                looks = "look" if len(here) > 1 else "looks"
                lack = "are" if len(missing) > 1 else "is"
                yield (
                    f"{where}{' and '.join(here)} {looks} like the format {name}, but "
                    f"{' and '.join(missing)} {lack} missing"
                )


def _trajectories(folder: Path) -> Iterator[str]:
    """Yield the name of a text that begins with lines of TUM's trajectories, beside pictures."""
    pictures = any(folder.glob(f"{where}*{end}") for where in ("", "*/") for end in _PICTURES)
    texts = islice((f for f in sorted(folder.glob("*.txt")) if f.is_file()), MAX_FOLDERS)
    for file in texts if pictures else ():
        with file.open("rb") as opened:
            lines = opened.read(_MOST_READ).decode(errors="replace").splitlines()
        rows = [line.split() for line in lines if line.strip() and line.strip()[0] != "#"]
        if rows and all(_is_posed(row) for row in rows[:3]) and file.name != _TRAJECTORY:
            yield file.name
            return


def _is_posed(words: list[str]) -> bool:
    try:
        *_, x, y, z, w = map(float, words)
    except ValueError:
        return False
    return len(words) == 8 and abs(x * x + y * y + z * z + w * w - 1) < 0.05


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

"""Ingest: turn what people have (videos, depth, clouds, logs, datasets) into an armillary dataset.

The dataset appears complete or not at all: it is written beside ``out`` and renamed. What cannot
be used is named with its reason and counted, never dropped in silence.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.files import storage_errors
from armillary.core.progress import Progress, silent
from armillary.data import layout
from armillary.data.sources import (
    argoverse,
    colmap,
    euroc,
    hdf5,
    icl_nuim,
    kitti,
    kitti_raw,
    lerobot,
    nerfstudio,
    nuscenes_bin,
    picture_folder,
    rawlog,
    rgbd_folder,
    rlds,
    ros,
    tum,
    video,
    zarr_buffer,
)
from armillary.data.sources.ascii_cloud import SUFFIXES, TEXT, AsciiClouds, read_ascii_cloud
from armillary.data.sources.cloud_folder import CloudFiles
from armillary.data.sources.e57 import read_e57
from armillary.data.sources.las import read_las
from armillary.data.sources.pcd import read_pcd
from armillary.data.sources.ply import read_ply
from armillary.data.sources.source import IngestOptions, IngestSummary, Source, refuse_others
from armillary.data.sources.unknown import has_advice, is_near, unknown

_STILL_S = 600.0  # nothing is written for so long only where nobody writes
FORMATS: dict[str, Source] = {
    "lerobot": lerobot,
    "nerfstudio": nerfstudio,
    "colmap": colmap,
    "icl_nuim": icl_nuim,
    "tum": tum,
    "rgbd": rgbd_folder,
    "euroc": euroc,
    "kitti": kitti,
    "kitti_raw": kitti_raw,
    "argoverse": argoverse,
    "video": video,
    "ros": ros,
    "rawlog": rawlog,
    "rlds": rlds,
    "hdf5": hdf5,
    "zarr": zarr_buffer,
    "nuscenes": nuscenes_bin,
    "las": CloudFiles("las", (".las", ".laz"), read_las),
    "e57": CloudFiles("e57", (".e57",), read_e57),
    "pcd": CloudFiles("pcd", (".pcd",), read_pcd),
    "ply": CloudFiles("ply", (".ply",), read_ply),
    "ascii": AsciiClouds("ascii", (*SUFFIXES, TEXT), read_ascii_cloud),
}
_ALONE = "pictures"  # beside another format, they belong to it
FORMATS[_ALONE] = picture_folder
# Formats that lay out a whole folder, in the order they are asked, with what knows the layout: all
# else that lies in such a folder (a mesh, a video) belongs to it.
_LAID_OUT: dict[str, Callable[[Path], bool]] = {
    "lerobot": lerobot.detect,
    "nerfstudio": nerfstudio.detect,
    "colmap": colmap.detect,
    "icl_nuim": icl_nuim.detect,
    "tum": tum.detect,
    "rgbd": rgbd_folder.detect,
    "euroc": euroc.detect,
    "kitti": kitti.detect,
    "kitti_raw": kitti_raw.detect,
    "argoverse": argoverse.detect,
    # sweeps without the layout are of the format, too, but nothing beside them is
    "nuscenes": nuscenes_bin.has_layout,
}


def ingest(
    source: Path | str,
    out: Path | str,
    fmt: str = "auto",
    progress: Progress = silent,
    options: IngestOptions | None = None,
) -> IngestSummary:
    """Write a dataset from a file or folder in one of the ``FORMATS``.

    Args:
        source: file or folder.
        out: folder of the new dataset.
        fmt: a name of ``FORMATS``, or ``auto``.
        progress: called with items done and in all.
        options: frame rate, size, unit, licence.

    Raises:
        FormatError: nothing there, nothing usable, or not the format that was named.
        ConfigError: unknown format, several formats in one folder, an option that means nothing for
            the format, ``out`` is in use, or ``source`` lies in what would be replaced.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    source, out, options = Path(source), Path(out), options or IngestOptions()
    chosen = _detected(source) if fmt == "auto" else fmt
    if chosen not in FORMATS:
        raise unknown_name("format", fmt, ["auto", *FORMATS])
    refuse_others(options, chosen, FORMATS[chosen].OPTIONS)
    clear_leftovers(out)
    _check_free(source, out, options.replace)
    return FORMATS[chosen].ingest(source, out, progress, options)


def clear_leftovers(out: Path) -> None:
    """Remove the parts of a dataset that killed processes left beside it.

    What may belong to a living process, here or on another machine, stays. Only what a process
    wrote that is gone, and to which nothing was added for ten minutes, goes. A dataset that a
    killed process had moved aside is put back.

    Args:
        out: the dataset's folder.

    Raises:
        StorageError: a leftover cannot be removed.
    """
    named = re.compile(rf"\.{re.escape(out.name)}\.([0-9]{{1,9}})\.(part|old)")
    with storage_errors(out):
        beside = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
        for path in beside:
            found = named.fullmatch(path.name)
            if not found or path.is_symlink() or not path.is_dir():
                continue
            if _is_alive(int(found[1])) or time.time() - _last_change(path) < _STILL_S:
                continue
            if found[2] == "old" and not out.exists():
                path.replace(out)
            else:
                shutil.rmtree(path)


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # a question that ends a process there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def _last_change(folder: Path) -> float:
    try:
        return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:  # somebody renames in it
        return time.time()


def _detected(source: Path) -> str:
    for name, is_laid_out in _LAID_OUT.items():
        if is_laid_out(source):
            return name
    others = [name for name in FORMATS if name != _ALONE]
    found = [name for name in others if FORMATS[name].detect(source)]
    if len(found) > 1:
        raise ConfigError(
            f"{source}: holds several formats ({', '.join(found)}); say with --format which one "
            "to take, or give the folder of one of them."
        )
    if not found and (source.is_dir() or has_advice(source)):
        looked_for = {n: getattr(each, "LOOKS_FOR", ()) for n, each in FORMATS.items()}
        if not is_near(source, looked_for) and picture_folder.detect(source):
            return _ALONE
        raise unknown(source, looked_for)
    # FFmpeg knows more than suffixes say
    return found[0] if found else "video"


def _check_free(source: Path, out: Path, replace: bool) -> None:
    with storage_errors(out):
        in_use = out.is_file() or (out.is_dir() and any(out.iterdir()))
    ours = (out / layout.MANIFEST).is_file()
    if in_use and not (replace and ours):
        raise ConfigError(
            f"{out}: already exists and is not empty; choose another folder with --out"
            + (", or allow to replace this dataset." if ours else ".")
        )
    if in_use and source.resolve().is_relative_to(out.resolve()):
        raise ConfigError(
            f"{source}: lies in {out}, which would be replaced and it with it; choose another "
            "folder with --out."
        )

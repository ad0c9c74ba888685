"""Ingest: turn what people have (videos, depth, clouds, logs, datasets) into an armillary dataset.

The dataset appears complete or not at all: it is written beside ``out`` and renamed. What cannot
be used is named with its reason and counted, never dropped in silence.
"""

from __future__ import annotations

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
from armillary.data.sources.las import read_las
from armillary.data.sources.pcd import read_pcd
from armillary.data.sources.ply import read_ply
from armillary.data.sources.source import IngestOptions, IngestSummary, Source, refuse_others
from armillary.data.sources.unknown import has_advice, unknown

# Those with a layout of their own come first: what else lies in their folder (a mesh, a video)
# belongs to them.
_LAID_OUT: dict[str, Source] = {
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
}
FORMATS: dict[str, Source] = {
    **_LAID_OUT,
    "video": video,
    "ros": ros,
    "rawlog": rawlog,
    "rlds": rlds,
    "hdf5": hdf5,
    "zarr": zarr_buffer,
    "nuscenes": nuscenes_bin,
    "las": CloudFiles("las", (".las", ".laz"), read_las),
    "pcd": CloudFiles("pcd", (".pcd",), read_pcd),
    "ply": CloudFiles("ply", (".ply",), read_ply),
    "ascii": AsciiClouds("ascii", (*SUFFIXES, TEXT), read_ascii_cloud),
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
    _check_free(source, out, options.replace)
    return FORMATS[chosen].ingest(source, out, progress, options)


def _detected(source: Path) -> str:
    found = [name for name, module in FORMATS.items() if module.detect(source)]
    if found and found[0] in _LAID_OUT:
        return found[0]
    if len(found) > 1:
        raise ConfigError(
            f"{source}: holds several formats ({', '.join(found)}); say with --format which one "
            "to take, or give the folder of one of them."
        )
    if not found and (source.is_dir() or has_advice(source)):
        raise unknown(source, {n: getattr(each, "LOOKS_FOR", ()) for n, each in FORMATS.items()})
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

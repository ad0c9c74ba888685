"""Verify: is every byte of a dataset as it was written; describe: what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armillary.core.errors import ArmillaryError, DatasetError
from armillary.core.hashing import file_sha256
from armillary.core.progress import Progress, silent
from armillary.data import layout
from armillary.data.dataset import Dataset
from armillary.data.manifest import read_manifest
from armillary.data.opening import open_dataset


@dataclass(frozen=True)
class VerifyReport:
    """What a verification found.

    Attributes:
        ok: nothing is wrong.
        problems: one sentence each; names the episode and the file.
        episodes: number of episodes looked at.
        damaged: their indices, of those with a problem.
        hashed: whether there was a manifest of hashes to compare with.
    """

    ok: bool
    problems: tuple[str, ...]
    episodes: int
    damaged: tuple[int, ...] = ()
    hashed: bool = True


def verify(path: Path | str, progress: Progress = silent) -> VerifyReport:
    """Check every file's hash, the counts, and that every frame can be decoded.

    Without a manifest (foreign datasets) only counts and decoding are checked.

    Args:
        path: a dataset's folder.
        progress: called with episodes done and in all.

    Raises:
        DatasetError: there is no dataset, or so little of it that nothing can be checked.
    """
    path = Path(path)
    hashed = (path / layout.MANIFEST).is_file()
    problems = list(_wrong_hashes(path)) if hashed else []
    try:
        dataset = open_dataset(path)
    except DatasetError as error:
        if not problems:
            raise
        return _report(problems, len(read_manifest(path)) - 1, hashed, str(error))
    problems += list(_without_hash(dataset)) if hashed else []
    broken = {index for index, _ in problems}
    for index in range(len(dataset)):
        if index not in broken:
            problems += [(index, sentence) for sentence in _wrong_counts(dataset, index)]
        progress(index + 1, len(dataset), f"{len(problems)} problems")
    return _report(problems, len(dataset), hashed)


def describe(path: Path | str) -> dict[str, Any]:
    """Return what is in a dataset, as JSON values: counts, streams, sizes, units, licence.

    Raises:
        DatasetError: it cannot be opened.
    """
    dataset = open_dataset(path)
    first = dataset.read_low(0)
    frames = int(dataset.lengths.sum())
    files = [file for file in dataset.path.rglob("*") if file.is_file()]
    return {
        "path": str(dataset.path),
        "episodes": len(dataset),
        "frames": frames,
        "seconds": frames / dataset.fps,
        "fps": dataset.fps,
        "steps_per_episode": [int(dataset.lengths.min()), int(dataset.lengths.max())],
        "streams": _described_streams(dataset),
        "action_width": 0 if first.actions is None else int(first.actions.shape[1]),
        "robot_type": dataset.info.get("robot_type"),
        "source": first.source,
        "license": first.license,
        "bytes": sum(file.stat().st_size for file in files),
        "written_by": "armillary" if dataset.is_ours else "LeRobot",
        "hashed": dataset.is_ours,
        "identity": dataset.identity(),
    }


def _described_streams(dataset: Dataset) -> dict[str, dict[str, Any]]:
    known = dataset.sidecar(0)["streams"] if dataset.is_ours else {}
    shapes = {name: dataset.features[key]["shape"] for key, (name, _) in dataset.names.items()}
    shapes |= {name: [*_cloud_shape(dataset, name)] for name in dataset.clouds}
    described = {
        name: {
            "kind": kind,
            "shape": shapes.get(name, [4, 4]),
            "unit": known.get(name, {}).get("unit", ""),
            "frame": known.get(name, {}).get("frame", ""),
            "intrinsics": known.get(name, {}).get("intrinsics") is not None,
        }
        for name, kind in dataset.streams.items()
    }
    for name in dataset.clouds:
        described[name]["columns"] = list(dataset.columns(name))
    for key, (name, _) in dataset.names.items():
        if codec := (dataset.features[key].get("info") or {}).get("video.codec"):
            described[name]["codec"] = codec
    return described


def _cloud_shape(dataset: Dataset, name: str) -> tuple[int, int]:
    """Return the points of the largest cloud of all episodes, and the features of a point."""
    most = (dataset.sidecar(index)["streams"][name]["most"] for index in range(len(dataset)))
    return max(most), len(dataset.columns(name))


def _wrong_hashes(path: Path) -> Iterator[tuple[int, str]]:
    for index, files in read_manifest(path).items():
        who = f"episode {index}: " if index >= 0 else ""
        for name, sha256 in sorted(files.items()):
            file = path / name
            if not file.is_file():
                yield index, f"{who}{name} is missing."
            elif file_sha256(file) != sha256:
                yield index, f"{who}{name} is damaged (its hash differs from the manifest)."


def _without_hash(dataset: Dataset) -> Iterator[tuple[int, str]]:
    known = read_manifest(dataset.path)
    tables = (dataset.path / layout.EPISODES_FOLDER).glob("*/*.parquet")
    shared = {layout.INFO, layout.STATS, layout.TASKS, layout.ABOUT}
    shared |= {file.relative_to(dataset.path).as_posix() for file in tables}
    for name in sorted(shared - known[-1].keys()):
        yield -1, f"{name} has no hash in the manifest."
    for index in range(len(dataset)):
        for name in [*dataset.files(index), *dataset.companions(index)]:
            if name not in known.get(index, {}):
                yield index, f"episode {index}: {name} has no hash in the manifest."


def _wrong_counts(dataset: Dataset, index: int) -> Iterator[str]:
    try:
        length = len(dataset.read_low(index))
        for name in dataset.cameras:
            count = sum(1 for _ in dataset.frames(index, name))
            if count != length:
                yield f"episode {index}: {name!r} has {count} pictures, {length} are wanted."
        for name in dataset.clouds:
            count = sum(1 for _ in dataset.points(index, name))
            if count != length:
                yield f"episode {index}: {name!r} has {count} clouds, {length} are wanted."
    except ArmillaryError as error:
        yield str(error).removeprefix(f"{dataset.path}: ")


def _report(
    problems: list[tuple[int, str]], episodes: int, hashed: bool, more: str = ""
) -> VerifyReport:
    sentences = [sentence for _, sentence in problems] + ([more] if more else [])
    damaged = tuple(sorted({index for index, _ in problems if index >= 0}))
    return VerifyReport(not sentences, tuple(sentences), episodes, damaged, hashed)

"""Layouts: how published benchmarks lie on disk, read into movies.

Nothing is downloaded, and labels are never guessed: what a folder's number or a file's place seems
to say is not used where the benchmark shuffles it.

Source: the benchmarks' own repositories.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import FormatError
from armillary.core.files import read_json
from armillary.understanding.suites.benchmarks.movies import Movie

_BLOCKS = {"O1": "permanence", "O2": "shape constancy", "O3": "continuity"}
_REAL = {"continuity": {"vv", "ii"}, "solidity": {"ui", "cv"}, "gravity": {"ui", "cv"}}
_MAGIC = {"continuity": {"iv", "vi"}, "solidity": {"uv", "ci"}, "gravity": {"uv", "ci"}}
PROBES = ("continuity", "solidity", "object_persistence", "unchangeableness", "directional_inertia")


def intphys(root: Path) -> list[Movie]:
    """Return IntPhys: ``{dev,test}/{O1,O2,O3}/SCENE/{1..4}/scene/*.png`` and ``status.json``.

    Both schemas of ``status.json`` are read; without one (test) the label is a secret. The four
    folders are shuffled when the set is written, so their numbers say nothing.
    """
    movies = []
    for scene in sorted(root.glob("*/O[123]/*/[1-4]/scene")):
        folder = scene.parent
        split, block, number = folder.relative_to(root).parts[:3]
        movies.append(
            Movie(
                id="/".join(folder.relative_to(root).parts[1:]),
                concept=_BLOCKS[block],
                group=f"{split}/{block}/{number}",
                possible=_is_possible(folder / "status.json"),
                path=scene,
            )
        )
    return _found(movies, root, "dev/O1/01/1/scene/scene_001.png")


def intphys2(root: Path) -> list[Movie]:
    """Return IntPhys 2 in any of its three layouts.

    ``SPLIT/metadata.csv`` with ``SPLIT/Videos/NAME.mp4`` (the split is called Main or Test), or
    ``labels.csv`` with ``Images/NAME/*.png``. Columns ``filename`` or ``name``, ``SceneIndex``,
    ``type``, ``condition``.
    """
    movies = []
    for table in sorted([*root.glob("metadata.csv"), *root.glob("*/metadata.csv")]):
        movies += [_intphys2_row(row, table.parent, table) for row in _rows(table)]
    for table in sorted([*root.glob("labels.csv"), *root.glob("*/labels.csv")]):
        movies += [_intphys2_row(row, table.parent, table) for row in _rows(table)]
    return _found(movies, root, "Main/metadata.csv and Main/Videos/NAME.mp4")


def grasp(root: Path) -> list[Movie]:
    """Return GRASP, level 2: ``P_TEST/NNN.mp4`` and ``IP_TEST/NNN.mp4``, paired by file name."""
    movies = []
    for folder in sorted([*root.glob("P_*"), *root.glob("IP_*"), *root.glob("level2/*P_*")]):
        kind, _, test = folder.name.partition("_")
        movies += [
            Movie(f"{folder.name}/{file.stem}", test, f"{test}/{file.stem}", kind == "P", file)
            for file in sorted(folder.glob("*.mp4"))
        ]
    return _found(movies, root, "level2/P_TEST/001.mp4")


def inflevel(root: Path) -> list[Movie]:
    """Return InfLevel-Lab: ``CATEGORY/CAMERA__CATEGORY__COVER__OBJECT__TYPE[__LR].mp4``.

    Trials of one camera, cover, object and direction are compared; groups without all four types
    are left out, as the benchmark does. Frames are given from the first on: whether a cover is cut
    is shown in the priming part alone.
    """
    movies = []
    for file in sorted(root.rglob("*.mp4")):
        parts = file.stem.split("__")
        if len(parts) not in (5, 6) or parts[1] not in _REAL:
            continue
        category, trial = parts[1], parts[4]
        if trial not in _REAL[category] | _MAGIC[category]:
            raise FormatError(f"{file}: unknown trial type {trial!r} of {category}.")
        group = "/".join([category, parts[0], *parts[2:4], *parts[5:]])
        movies.append(Movie(file.stem, category, group, trial in _REAL[category], file))
    trials: dict[str, set[str]] = {}
    for movie in movies:
        trials.setdefault(movie.group, set()).add(movie.id.split("__")[4])
    whole = [movie for movie in movies if len(trials[movie.group]) == 4]
    return _found(whole, root, "gravity/CAMERA__gravity__COVER__OBJECT__{ui,cv,uv,ci}.mp4")


def physical_concepts(root: Path) -> list[Movie]:
    """Return Physical Concepts as npz files named by their probe.

    Arrays ``possible_image`` and ``impossible_image``, of two clips each [2 T H W 3].
    """
    movies = []
    for file in sorted(root.rglob("*.npz")):
        concept = next((name for name in PROBES if name in file.as_posix()), file.parent.name)
        name = file.relative_to(root).with_suffix("").as_posix()
        for array, possible in (("possible_image", True), ("impossible_image", False)):
            movies += [
                Movie(f"{name}/{array}/{row}", concept, name, possible, file, (array, row))
                for row in (0, 1)
            ]
    return _found(movies, root, "continuity/00001.npz")


def clevrer(root: Path) -> dict[str, dict[int, np.ndarray]]:
    """Return CLEVRER's trajectories: by video, by object, [T 3] of frame and place (NaN: unseen).

    Raises:
        FormatError: no ``annotation_NNNNN.json``, or one that is not CLEVRER's.
    """
    found = {}
    for file in sorted(root.rglob("annotation_*.json")):
        value = read_json(file)
        try:
            found[str(value["video_filename"])] = _trajectories(value["motion_trajectory"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FormatError(f"{file}: is not an annotation of CLEVRER ({error}).") from error
    if not found:
        raise FormatError(f"{root}: holds no annotation_00000.json.")
    return found


LAYOUTS: dict[str, Callable[[Path], list[Movie]]] = {
    "intphys": intphys,
    "intphys2": intphys2,
    "grasp": grasp,
    "inflevel": inflevel,
    "physical_concepts": physical_concepts,
}


def _is_possible(status: Path) -> bool | None:
    """Return the label in either schema: ``header.is_possible`` (2019) or ``possible`` (1.0)."""
    if not status.is_file():
        return None
    value = read_json(status)
    if not isinstance(value, dict) or not isinstance(value.get("header", {}), dict):
        raise FormatError(f"{status}: is not a status of IntPhys.")
    for label in (value.get("header", {}).get("is_possible"), value.get("possible")):
        if isinstance(label, bool):
            return label
    raise FormatError(f"{status}: says neither header.is_possible nor possible.")


def _intphys2_row(row: Mapping[str, str], folder: Path, table: Path) -> Movie:
    name = row.get("filename") or row.get("name") or ""
    kind = row.get("type") or ""
    match = re.fullmatch(r"([12])_(Possible|Impossible)", kind)
    if not name or (kind and not match):
        raise FormatError(f"{table}: a row has no filename, or the type {kind!r}.")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise FormatError(f"{table}: {name!r} leads out of its folder.")
    video = folder / "Videos" / (name if name.endswith(".mp4") else f"{name}.mp4")
    path = video if video.is_file() else folder / "Images" / name
    if not path.exists():
        raise FormatError(f"{table}: neither {video} nor {path} exists.")
    scene = f"{folder.name}/{row.get('SceneIndex') or name}"
    pair = f"{scene}/{match[1]}" if match else scene
    possible = None if match is None else match[2] == "Possible"
    concept = row.get("condition") or "all"
    return Movie(f"{folder.name}/{name}", concept, pair, possible, path)


def _rows(table: Path) -> Iterator[dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.DictReader(file)
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{table}: is not a table of comma separated values.") from error


def _trajectories(frames: list[dict[str, Any]]) -> dict[int, np.ndarray]:
    ids = sorted({int(one["object_id"]) for frame in frames for one in frame["objects"]})
    paths = {name: np.full((len(frames), 3), np.nan) for name in ids}
    for row, frame in enumerate(frames):
        for one in frame["objects"]:
            place = [float(value) for value in one["location"][:2]]
            paths[int(one["object_id"])][row] = [float(frame["frame_id"]), *place]
    return paths


def _found(movies: list[Movie], root: Path, wanted: str) -> list[Movie]:
    ids = [movie.id for movie in movies]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise FormatError(f"{root}: {twice} comes twice; give the folder of one split.")
    if not movies:
        raise FormatError(f"{root}: nothing of the layout {wanted} was found.")
    return movies

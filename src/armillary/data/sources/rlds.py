"""RLDS: episodes of robots in TFRecord, as TensorFlow Datasets writes them; without TensorFlow.

Each record is an episode: ``steps/observation/...``, ``steps/action`` and more, with the values of
all steps in one list. What they mean is in ``features.json``.

Convention: the action of a step leads from its observation to the next one, so the action of the
last step leads nowhere and is left out. RLDS has no times: the rate must be given.

Axes: T steps, Q numbers.

Source: google-research/rlds, "Dataset format".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from armillary.core.errors import ConfigError, FormatError
from armillary.core.progress import Progress
from armillary.data.sources.counted_steps import (
    at_own_rate,
    camera_streams,
    cameras_note,
    check_steps,
    encoded_camera,
    is_black,
    joined,
    parts_note,
    plain_text,
    proprio,
    times_ns,
    with_notes,
)
from armillary.data.sources.recording import Camera, Recording, write_recordings
from armillary.data.sources.rlds_features import (
    OBSERVATION,
    Chosen,
    features_beside,
    read_features,
)
from armillary.data.sources.source import IngestOptions, IngestSummary, files_with, natural
from armillary.data.sources.tf_example import Feature, read_example
from armillary.data.sources.tfrecord import find_records, read_record

LOOKS_FOR = ("*.tfrecord or *.tfrecord-*", "features.json or *features.json")
OPTIONS = ("fps", "max_side", "pictures")
_NAME = re.compile(r"(?P<split>.*)\.tfrecord(-(?P<number>\d{1,6})-of-(?P<count>\d{1,6}))?")


def detect(path: Path) -> bool:
    """Say whether there is a TFRecord, by its name."""
    try:
        return bool(record_files(path))
    except OSError:
        return False


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of a TFRecord, or of all of a folder, with one episode a record.

    Raises:
        FormatError: no TFRecord, no features.json beside it, or no episode that is usable.
        ConfigError: no rate was given.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    files = record_files(source)
    if not files:
        raise FormatError(
            f"{source}: holds no TFRecord; *.tfrecord or *.tfrecord-00000-of-00001 was looked for."
        )
    if options.fps is None:
        raise ConfigError(
            f"{source}: RLDS does not say how many steps a second has; pass --fps, e.g. 5 for "
            "BridgeData v2, 3 for RT-1, 15 for DROID."
        )
    chosen = {file.parent: read_features(features_beside(file)) for file in files}
    work = _Work(options.fps)
    found: list[tuple[Path, Callable[[], Recording]]] = []
    for file in files:
        loads, wrong = work.loads(file, chosen[file.parent])
        found += [(file, load) for load in loads]
        if wrong is not None:
            found.append((file, partial(_refuse, wrong)))
    about = {"ingested": "rlds"}
    summary = write_recordings(found, out, progress, at_own_rate(options), about)
    return with_notes(summary, [*work.said(), *_missing_shards(files)])


def record_files(path: Path) -> list[Path]:
    """Return the TFRecord, or all of a folder, in the order of their names."""
    found = [file for file in files_with(path, ("",)) if _NAME.fullmatch(file.name)]
    return sorted(found, key=lambda file: natural(str(file)))


@dataclass
class _Work:
    """Reads episodes, and keeps what is to be reported of all of them."""

    fps: float | int
    notes: list[str] = field(default_factory=list)
    instructions: set[str] = field(default_factory=set)
    black: Counter[str] = field(default_factory=Counter)

    def loads(
        self, file: Path, chosen: Chosen
    ) -> tuple[list[Callable[[], Recording]], FormatError | None]:
        """Return how each episode of a file is read, and what is wrong with the file."""
        try:
            records, wrong = find_records(file)
        except FormatError as error:
            return [], error
        loads = [
            partial(self.read, file, number, record, chosen)
            for number, record in enumerate(records)
        ]
        return loads, FormatError(wrong) if wrong else None

    def read(self, file: Path, number: int, record: tuple[int, int], chosen: Chosen) -> Recording:
        """Return the recording of one record.

        Raises:
            FormatError: it is damaged, or not what features.json says.
        """
        where = f"{file}, episode {number}"
        features = read_example(read_record(file, *record), where)
        streams = camera_streams([key.removeprefix(OBSERVATION) for key in chosen.cameras])
        pictures = {
            name: _feature(features, f"{OBSERVATION}{name}", where).texts() for name in streams
        }
        steps = _steps(features, pictures, chosen, where)
        cameras = {streams[name]: _camera(pictures[name], name, steps, where) for name in streams}
        state = _parts(features, chosen.state, steps, where)
        acts = _parts(features, chosen.actions, steps, where)
        self.black.update(streams[n] for n, files in pictures.items() if is_black(files[0]))
        self._note(chosen, streams)
        said = self._instruction(features, chosen, where)
        return Recording(
            f"{file.name}, episode {number}{f' ({said})' if said else ''}",
            times_ns(steps, self.fps),
            np.ones(steps, bool),
            cameras,
            proprio(state),
            joined(acts)[0] if acts else None,
            fps=self.fps,
            task=said,
        )

    def said(self) -> list[str]:
        """Return the sentences about all episodes."""
        note = f"{len(self.instructions)} different instructions: each is the task of its episode."
        black = [
            f"{stream}: the first picture of {count} episodes is black; their recording may not "
            "have had this camera."
            for stream, count in sorted(self.black.items())
        ]
        return [*self.notes, *black, *([note] if self.instructions else [])]

    def _note(self, chosen: Chosen, streams: Mapping[str, str]) -> None:
        if self.notes:
            return
        self.notes += [cameras_note(streams)] if streams else []
        state = {key.removeprefix(OBSERVATION): width for key, width in chosen.state.items()}
        self.notes += [parts_note("proprio", state)] if state else []
        acts = {key.removeprefix("steps/"): width for key, width in chosen.actions.items()}
        self.notes.append(parts_note("actions", acts) if acts else "There are no actions.")
        self.notes += chosen.left_out

    def _instruction(self, features: Mapping[str, Feature], chosen: Chosen, where: str) -> str:
        if not chosen.instruction:
            return ""
        texts = _feature(features, chosen.instruction, where).texts()
        said = plain_text(texts[0]) if texts else ""
        self.instructions |= {said} - {""}
        return said


def _steps(
    features: Mapping[str, Feature],
    pictures: Mapping[str, list[bytes]],
    chosen: Chosen,
    where: str,
) -> int:
    """Return how many steps an episode has: as many as pictures, or rows of its state."""
    counts = [len(files) for files in pictures.values()]
    if not counts:
        key, width = next(iter(chosen.state.items()))
        counts = [len(_feature(features, key, where).numbers()) // width]
    check_steps(counts[0], where)
    return counts[0]


def _camera(files: list[bytes], name: str, steps: int, where: str) -> Camera:
    if len(files) != steps:
        raise FormatError(f"{where}: {name!r} has {len(files)} pictures for {steps} steps.")
    return encoded_camera(lambda chosen: (files[step] for step in chosen), f"{where}: {name}")


def _parts(
    features: Mapping[str, Feature], widths: Mapping[str, int], steps: int, where: str
) -> dict[str, np.ndarray]:
    """Return vectors [T Q] by their keys."""
    parts = {}
    for key, width in widths.items():
        values = _feature(features, key, where).numbers()
        if len(values) != steps * width:
            raise FormatError(
                f"{where}: {key!r} has {len(values)} numbers, {steps} steps of {width} were "
                "expected."
            )
        parts[key] = values.reshape(steps, width)
    return parts


def _feature(features: Mapping[str, Feature], key: str, where: str) -> Feature:
    if key not in features:
        raise FormatError(f"{where}: lacks {key!r}, which its features.json describes.")
    return features[key]


def _refuse(error: FormatError) -> Recording:
    raise error


def _missing_shards(files: list[Path]) -> list[str]:
    """Say of which datasets not all files are there."""
    there: dict[tuple[Path, str, int], int] = {}
    for file in files:
        match = _NAME.fullmatch(file.name)
        if match is not None and match["count"] is not None:
            key = file.parent, match["split"], int(match["count"])
            there[key] = there.get(key, 0) + 1
    return [
        f"{folder / split}: {count} of its {wanted} files are there."
        for (folder, split, wanted), count in there.items()
        if count < wanted
    ]

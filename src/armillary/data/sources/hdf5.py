"""HDF5 of robots' demonstrations: as robomimic, Isaac Lab and ALOHA write them.

robomimic and Isaac Lab have ``data/demo_0/obs/...`` and ``data/demo_0/actions``, and many episodes
in one file. ALOHA has ``observations/images/...``, ``observations/qpos`` and ``action``, and one
episode a file. What a file holds tells which it is, not its name. Extra ``hdf5``.

Convention: the action of a step leads from its observation to the next one, so the action of the
last step leads nowhere and is left out. ``obs/object`` and ``states`` of robomimic are what the
simulator knows and no sensor sees: they are truth.

Axes: T steps, Q numbers, H W image.

Source: robomimic, "Dataset contents"; Isaac Lab, ``HDF5DatasetFileHandler``; ALOHA,
``record_episodes.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError, FormatError, MissingExtraError
from armillary.core.progress import Progress
from armillary.core.values import Stream
from armillary.data.sources.counted_steps import (
    MAX_WIDTH,
    at_own_rate,
    camera_streams,
    cameras_note,
    check_steps,
    encoded_camera,
    joined,
    parts_note,
    plain_text,
    proprio,
    times_ns,
    with_notes,
)
from armillary.data.sources.hdf5_file import (
    attribute,
    begins_like_hdf5,
    children,
    hdf5_errors,
    is_array,
    is_group,
    opened,
    refusal,
    walked,
    whole,
)
from armillary.data.sources.recording import Camera, Recording, write_recordings
from armillary.data.sources.source import IngestOptions, IngestSummary, files_with, natural

LOOKS_FOR = ("*.hdf5 or *.h5",)
OPTIONS = ("fps", "max_side", "pictures")
SUFFIXES = (".hdf5", ".h5")
_LOOKED_AT = 16  # files, when a folder is recognised
_DEEPEST, _MOST = 4, 10_000
_RATES = ("fps", "frame_rate", "control_freq")  # attributes of a file
_TRUTH = "object"
_LOAD = Callable[[], Recording]


@dataclass(frozen=True)
class _Layout:
    """Where a kind of file keeps what."""

    name: str
    observation: str
    actions: str


_DEMOS = _Layout("robomimic", "obs", "actions")
_ALOHA = _Layout("ALOHA", "observations", "action")


def detect(path: Path) -> bool:
    """Say whether there is an HDF5 file of demonstrations, by what is in it; one alone is taken."""
    try:
        files = [file for file in _files(path)[:_LOOKED_AT] if begins_like_hdf5(file)]
    except OSError:
        return False
    return any(file == path or _is_known(file) for file in files)


def ingest(source: Path, out: Path, progress: Progress, options: IngestOptions) -> IngestSummary:
    """Write a dataset of an HDF5 file, or of all of a folder, with one episode a demonstration.

    Raises:
        FormatError: no such file, an unknown layout, or no demonstration that is usable.
        ConfigError: no rate was given, or another one than the file has.
        MissingExtraError: h5py is not installed.
        StorageError: ``out`` cannot be written; nothing is left there.
    """
    files = _files(source)
    if not files:
        raise FormatError(f"{source}: holds no HDF5 file; {', '.join(SUFFIXES)} was looked for.")
    notes: list[str] = []
    found: list[tuple[Path, _LOAD]] = []
    for file in files:
        try:
            layout, demos, rate = _examined(file)
            if not demos:
                raise FormatError(
                    f"{file}: is of no layout that is known: data/demo_0 with obs and actions "
                    "(robomimic, Isaac Lab), or observations and action (ALOHA)."
                )
        except FormatError as error:
            found.append((file, partial(_refuse, error)))
            continue
        fps = _rate(file, rate, options.fps)
        found += [(file, partial(_read, file, layout, demo, fps, notes)) for demo in demos]
    about = {"ingested": "hdf5"}
    summary = write_recordings(found, out, progress, at_own_rate(options), about)
    return with_notes(summary, notes)


def _files(path: Path) -> list[Path]:
    return sorted(files_with(path, SUFFIXES), key=lambda file: natural(str(file)))


def _is_known(file: Path) -> bool:
    try:
        return bool(_examined(file)[1])
    except MissingExtraError:  # nobody can look; the sentence about the extra is the better one
        return file.suffix.lower() == SUFFIXES[0]
    except (FormatError, OSError):
        return False


def _examined(file: Path) -> tuple[_Layout, list[tuple[str, ...]], float | None]:
    """Return a file's layout, where its demonstrations are, and its rate where it says one."""
    with opened(file) as opened_file, hdf5_errors(str(file)):
        top = children(opened_file)
        rate = _stored_rate(opened_file)
        if is_group(top.get("data")):
            demos = {n: node for n, node in children(top["data"]).items() if is_group(node)}
            whole_ones = [n for n, node in demos.items() if _is_demo(node)]
            rate = rate or _stored_rate(top["data"]) or _rate_of_settings(top["data"])
            return _DEMOS, [("data", name) for name in sorted(whole_ones, key=natural)], rate
        is_one = is_group(top.get("observations")) and is_array(top.get("action"))
        return _ALOHA, [()] if is_one else [], rate


def _is_demo(group: Any) -> bool:
    there = children(group)
    return "obs" in there or is_array(there.get("actions"))


def _stored_rate(node: Any) -> float | None:
    """Return the steps per second that an attribute says."""
    return next((r for name in _RATES if (r := _possible(attribute(node, name)))), None)


def _rate_of_settings(data: Any) -> float | None:
    """Return the rate in the settings of the simulator, as robomimic and Isaac Lab keep them."""
    text = attribute(data, "env_args")
    try:
        settings = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    settings = settings if isinstance(settings, dict) else {}
    inner, simulator = settings.get("env_kwargs"), settings.get("sim_args")
    if isinstance(inner, dict) and (rate := _possible(inner.get("control_freq"))):
        return rate
    if isinstance(simulator, dict):
        step, every = simulator.get("dt"), simulator.get("decimation")
        if isinstance(step, (int, float)) and isinstance(every, (int, float)):
            length_s = float(step) * float(every)
            return _possible(round(1 / length_s, 6) if length_s else None)
    return None


def _possible(rate: Any) -> float | None:
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        return None
    return float(rate) if 0.001 <= rate < 10_000 else None


def _rate(file: Path, rate: float | None, wanted: float | int | None) -> float:
    if rate is None and wanted is None:
        raise ConfigError(
            f"{file}: does not say how many steps a second has; pass --fps, e.g. 20 for robomimic "
            "or 50 for ALOHA."
        )
    if rate is not None and wanted is not None and not math.isclose(rate, wanted, rel_tol=1e-6):
        raise ConfigError(f"{file}: runs at {rate:g} steps/s, which cannot be changed.")
    return float(rate or wanted or 0)


@dataclass
class _Demo:
    """What of a demonstration becomes what; arrays by name."""

    images: dict[str, Any] = field(default_factory=dict)
    encoded: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)

    def add(self, name: str, array: Any, layout: _Layout) -> None:
        """Sort an observation in; note why if it cannot be read."""
        why, shape = refusal(array), array.shape
        pictures = array.dtype == np.uint8
        if not why and pictures and len(shape) == 4 and shape[3] == 3 and min(shape[1:3]) > 1:
            self.images[name] = array
        elif not why and pictures and len(shape) == 2 and name.startswith("images/"):
            self.encoded[name] = array
        elif not why and _is_vector(array):
            simulated = layout is _DEMOS and name == _TRUTH
            (self.truth if simulated else self.state)[name] = array
        else:
            why = why or f"{array.dtype} {list(shape)}; 8-bit colour [T H W 3] or vectors are read"
            self.odd.append(f"{plain_text(name)} is left out: {why}.")

    def add_states(self, node: Any) -> None:
        """Take the simulator's states, if they are one vector a step."""
        if is_array(node) and not refusal(node) and _is_vector(node):
            self.truth["states"] = node
        else:
            self.odd.append("states is left out: it is not one vector a step.")


def _is_vector(array: Any) -> bool:
    return len(array.shape) <= 2 and 0 < math.prod(array.shape[1:]) <= MAX_WIDTH


def _read(
    file: Path, layout: _Layout, place: tuple[str, ...], fps: float, notes: list[str]
) -> Recording:
    """Return the recording of one demonstration.

    Raises:
        FormatError: it is damaged, short, or its arrays do not fit together.
    """
    name = "/".join((file.name, *place))
    where = str(Path(file, *place))
    with opened(file) as opened_file, hdf5_errors(where):
        group = walked(opened_file, place)
        demo, acts = _sorted_in(group, layout, where)
        arrays = demo.images | demo.encoded | demo.state | demo.truth
        arrays |= {} if acts is None else {layout.actions: acts}
        steps = _common_length(arrays, where)
        named = {n.removeprefix("images/"): n for n in (*demo.images, *demo.encoded)}
        streams = camera_streams(named)
        state = {n: whole(array, f"{where}: {n}") for n, array in demo.state.items()}
        truth = {n: whole(array, f"{where}: {n}") for n, array in demo.truth.items()}
        actions = None if acts is None else joined({"": whole(acts, f"{where}: actions")})[0]
        widths = {n: math.prod(array.shape[1:]) for n, array in demo.state.items()}
    others = proprio(state)
    others |= {n: Stream("truth", joined({n: rows})[0]) for n, rows in truth.items()}
    notes += [cameras_note(streams)] if streams else []
    notes += [parts_note("proprio", widths)] if widths else []
    notes += [f"truth: {', '.join(sorted(truth))}, known to the simulator alone."] if truth else []
    notes += [*demo.odd, *([] if acts is not None else ["There are no actions."])]
    inner = (*place, layout.observation)
    cameras = {
        stream: _camera(file, (*inner, *named[n].split("/")), named[n] in demo.encoded)
        for n, stream in streams.items()
    }
    usable = np.ones(steps, bool)
    return Recording(name, times_ns(steps, fps), usable, cameras, others, actions, fps=fps)


def _sorted_in(group: Any, layout: _Layout, where: str) -> tuple[_Demo, Any]:
    """Return the observations of a demonstration, and the array of its actions if it has one."""
    there, demo = children(group), _Demo()
    seen = there.get(layout.observation)
    if is_group(seen):
        for count, (name, array) in enumerate(_arrays(seen, "", set())):
            if count >= _MOST:
                raise FormatError(f"{where}: has more than {_MOST} observations; refused.")
            demo.add(name, array, layout)
    elif is_array(seen) and not refusal(seen) and _is_vector(seen):  # Isaac Lab may join all
        demo.state[layout.observation] = seen
    if layout is _DEMOS and "states" in there:
        demo.add_states(there["states"])
    if not (demo.images or demo.encoded or demo.state):
        raise FormatError(f"{where}: has no observation that can be read. {' '.join(demo.odd)}")
    acts = there.get(layout.actions)
    if acts is None or not is_array(acts):
        return demo, None
    why = refusal(acts)
    if why or len(acts.shape) != 2 or not 0 < acts.shape[1] <= MAX_WIDTH:
        raise FormatError(
            f"{where}: its actions are {why or list(acts.shape)}; vectors [T A] were expected."
        )
    return demo, acts


def _arrays(group: Any, before: str, passed: set[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the arrays below a group; one that was passed, which may hold itself, is left out."""
    passed.add(group)
    for name, node in children(group).items():
        if is_array(node):
            yield before + name, node
        elif node not in passed and before.count("/") < _DEEPEST:
            yield from _arrays(node, f"{before}{name}/", passed)


def _common_length(arrays: Mapping[str, Any], where: str) -> int:
    lengths = {name: int(array.shape[0]) for name, array in arrays.items()}
    first, steps = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != steps:
            raise FormatError(
                f"{where}: {name!r} has {length} steps, {first!r} has {steps}; all of a "
                "demonstration must have as many."
            )
    check_steps(steps, where)
    return steps


def _camera(file: Path, names: tuple[str, ...], encoded: bool) -> Camera:
    """Return the camera of one array; it is read step by step, and the file opened for it."""
    where = f"{file}: {'/'.join(names)}"

    def rows(steps: Sequence[int]) -> Iterator[np.ndarray]:
        with opened(file) as opened_file:
            with hdf5_errors(where):
                array = walked(opened_file, names)
                if why := refusal(array):  # the file is another one now
                    raise FormatError(f"{where}: {why}.")
            for step in steps:
                with hdf5_errors(f"{where}, step {step}"):
                    row = np.ascontiguousarray(array[step])
                yield row

    if encoded:
        return encoded_camera(lambda steps: (row.tobytes() for row in rows(steps)), where)
    return Camera("rgb", lambda steps, _stills: rows(steps))


def _refuse(error: FormatError) -> Recording:
    raise error

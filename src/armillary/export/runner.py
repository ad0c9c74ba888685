"""Runner: decide and predict with an exported model, by numpy and onnxruntime alone.

    from runner import Runner                 # in an exported folder; or armillary.export.runner

    runner = Runner.load("out/export")
    goal = runner.encode({"rgb": goal_picture})
    chunk = runner.decide(runner.encode({"rgb": picture}), goal, steps_left=30)
    robot.send(chunk[0])                      # or all of chunk, one after the other

A copy of this file lies in every exported folder, so it imports nothing of armillary, and its
errors are its own. Nothing from a folder is executed but the ONNX graphs: no pickle, no other file
than those that the manifest lists with size and SHA-256, no data outside of an ONNX file.

Axes: B = 1, N tokens, D width of a token, M memory, K robot steps of a model step, A action, H W
image.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

FORMAT = "armillary-export/1"
MANIFEST = "export.json"
MOST_MANIFEST_BYTES = 1 << 20
MOST_GRAPH_BYTES = (1 << 31) - 1
GRAPHS = ("encoder", "predictor", "policy")
_DTYPES = ("uint8", "float32")
_MOST_STEPS, _MOST_AXES, _MOST_SIDE, _MOST_PORTS = 10_000, 4, 1 << 20, 16
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ORT_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}
_QUIET = 3  # onnxruntime says only errors


class ExportError(ValueError):
    """A folder that is no intact export, or an input that its graphs do not take."""


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: of the tensor.
        shape: without the batch axis.
        dtype: ``uint8`` or ``float32``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Graph:
    """One ONNX graph, ready to run.

    Attributes:
        session: of onnxruntime.
        inputs: in the order of the manifest.
        outputs: likewise.
    """

    session: Any
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __call__(self, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs for inputs by name, all with a batch axis.

        Raises:
            ExportError: an input is missing, or has another shape or type.
        """
        feed = {port.name: _fitting(port, values.get(port.name)) for port in self.inputs}
        return self.session.run([port.name for port in self.outputs], feed)


@dataclass(frozen=True)
class Runner:
    """An exported model.

    Attributes:
        manifest: what ``export.json`` says.
        graphs: by name: ``encoder``, ``predictor`` and, where the model had one, ``policy``.
        frame_skip: K.
        low: lowest action [A]; None without limits.
        high: highest action [A].
    """

    manifest: Mapping[str, Any]
    graphs: Mapping[str, Graph]
    frame_skip: int
    low: np.ndarray | None
    high: np.ndarray | None

    @classmethod
    def load(cls, folder: str | Path, threads: int = 1) -> Runner:
        """Read an exported folder.

        Args:
            folder: that ``armillary export`` wrote.
            threads: that a graph may use.

        Raises:
            ExportError: it is no export, or a file is missing, changed, or not what the manifest
                says.
        """
        place = Path(folder)
        manifest = _read_manifest(place / MANIFEST)
        try:
            frame_skip = _whole(manifest["frame_skip"], 1, _MOST_STEPS)
            low, high = _limits(manifest["action"])
            graphs = {
                name: _graph(place, name, manifest["files"], described, threads)
                for name, described in _named_graphs(manifest["graphs"]).items()
            }
        except ExportError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ExportError(
                f"{place / MANIFEST}: is not a manifest of {FORMAT} ({type(error).__name__}: "
                f"{error}). Export the model again."
            ) from error
        return cls(manifest, graphs, frame_skip, low, high)

    def encode(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the tokens of an observation [1 N D].

        Args:
            observation: what the manifest's encoder lists, by name and without a batch axis:
                ``rgb`` uint8 [H W 3] at the model's size, ``proprio`` [Q], ``depth`` [H W] in
                metres, and so on. Other names are not looked at.

        Raises:
            ExportError: something is missing, or has another shape or type.
        """
        graph = self.graphs["encoder"]
        values = {
            port.name: _observed(port, observation[port.name])
            for port in graph.inputs
            if port.name in observation
        }
        return graph(values)[0]

    def decide(
        self, tokens: np.ndarray, goal_tokens: np.ndarray, steps_left: int | None = None
    ) -> np.ndarray:
        """Return the next actions [K A] float64, in the robot's unit and inside its limits.

        Without limits in the manifest they are as the network means them.

        Args:
            tokens: now, [1 N D].
            goal_tokens: of the goal, [1 N D].
            steps_left: robot steps in which the goal is to be reached; None for as soon as
                possible.

        Raises:
            ExportError: the model has no goal policy, or an input has another shape.
        """
        if "policy" not in self.graphs:
            raise ExportError("This export has no goal policy: it encodes and predicts only.")
        left = 1.0 if steps_left is None else max(steps_left / self.frame_skip, 1.0)
        given = {
            "tokens": tokens,
            "goal_tokens": goal_tokens,
            "steps_left": np.array([left], np.float32),
        }
        chunk = self.graphs["policy"](given)[0][0].astype(np.float64)
        if not np.isfinite(chunk).all():
            raise ExportError("The goal policy gave no finite action; stop the robot.")
        return chunk if self.low is None else np.clip(chunk, self.low, self.high)

    def act(
        self,
        observation: Mapping[str, np.ndarray],
        goal: Mapping[str, np.ndarray],
        steps_left: int | None = None,
    ) -> np.ndarray:
        """Return the next actions [K A] towards a goal's observation; see ``decide``.

        The goal is encoded each time. Encode it once where time matters.
        """
        return self.decide(self.encode(observation), self.encode(goal), steps_left)

    def predict(
        self,
        tokens: np.ndarray,
        action: np.ndarray | None = None,
        memory: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the tokens one model step later [1 N D], and the memory for the next step [1 M].

        Args:
            tokens: now, [1 N D].
            action: of one model step [K A], in the robot's unit; None for a model without actions.
            memory: that the step before returned; None at first.

        Raises:
            ExportError: an input is missing or has another shape.
        """
        graph = self.graphs["predictor"]
        values = {"tokens": tokens}
        for port in graph.inputs:
            if port.name == "action" and action is not None:
                values["action"] = np.asarray(action, np.float32)[None]
            if port.name == "memory":
                first = np.zeros((1, *port.shape), np.float32)
                values["memory"] = first if memory is None else memory
        later = graph(values)
        return later[0], later[1] if len(later) > 1 else None


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ExportError(
            f"{path}: cannot be read ({error.strerror}); a folder that armillary export wrote was "
            "expected."
        ) from error
    if len(data) > MOST_MANIFEST_BYTES:
        raise ExportError(f"{path}: larger than {MOST_MANIFEST_BYTES >> 20} MiB; refused.")
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path}: is not JSON ({error}).") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise ExportError(f"{path}: the format {FORMAT} was expected, got {found!r}.")
    return manifest


def _named_graphs(graphs: Mapping[str, Any]) -> Mapping[str, Any]:
    if strange := sorted({*graphs} - {*GRAPHS}):
        raise ExportError(f"The manifest names a graph {strange[0]!r}, which nobody knows.")
    if missing := {*GRAPHS[:2]} - {*graphs}:
        raise ExportError(f"The manifest lacks the graph {sorted(missing)[0]!r}.")
    return graphs


def _graph(
    folder: Path, name: str, files: Mapping[str, Any], described: Mapping[str, Any], threads: int
) -> Graph:
    file = f"{name}.onnx"  # and nothing else, so that no path leads out of the folder
    if described["file"] != file:
        raise ExportError(f"The manifest names a file {described['file']!r}, not {file}.")
    data = _checked_bytes(folder / file, files[file])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = _QUIET
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no class of their own
        said = str(error).splitlines()[0]
        raise ExportError(f"{folder / file}: onnxruntime cannot load it ({said}).") from error
    inputs, outputs = _ports(described["inputs"]), _ports(described["outputs"])
    _compare(folder / file, inputs, session.get_inputs())
    _compare(folder / file, outputs, session.get_outputs())
    return Graph(session, inputs, outputs)


def _checked_bytes(path: Path, promised: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file, which are the ones that are loaded: it is read only once."""
    size = _whole(promised["bytes"], 1, MOST_GRAPH_BYTES)
    if not isinstance(promised["sha256"], str) or not _SHA256.fullmatch(promised["sha256"]):
        raise ExportError(f"{path}: the manifest has no SHA-256 for it.")
    try:
        if path.is_symlink():
            raise ExportError(f"{path}: is a link; a file of its own was expected.")
        with path.open("rb") as file:
            data = file.read(size + 1)
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror}).") from error
    if len(data) != size or hashlib.sha256(data).hexdigest() != promised["sha256"]:
        raise ExportError(
            f"{path}: is not the file that was exported (size or SHA-256 differ). Export the model "
            "again."
        )
    # the key under which ONNX names a file for its weights: any encoding of it has these letters
    if b"location" in data:
        raise ExportError(f"{path}: takes data from outside of the file; refused.")
    return data


def _ports(described: Any) -> tuple[Port, ...]:
    if not isinstance(described, list) or not 1 <= len(described) <= _MOST_PORTS:
        raise ExportError(f"A graph has 1 to {_MOST_PORTS} inputs and outputs.")
    return tuple(_port(one) for one in described)


def _port(described: Mapping[str, Any]) -> Port:
    name, dtype, shape = described["name"], described["dtype"], described["shape"]
    fits = isinstance(name, str) and dtype in _DTYPES and isinstance(shape, list)
    if not fits or shape[:1] != ["batch"] or len(shape) > 1 + _MOST_AXES:
        raise ExportError(f"The manifest describes {name!r} in a way that is not read.")
    return Port(name, tuple(_whole(side, 1, _MOST_SIDE) for side in shape[1:]), dtype)


def _compare(path: Path, ports: tuple[Port, ...], found: Any) -> None:
    promised = [(port.name, _ORT_TYPES[port.dtype], list(port.shape)) for port in ports]
    if promised != [(one.name, one.type, list(one.shape[1:])) for one in found]:
        raise ExportError(f"{path}: has other inputs or outputs than the manifest says.")


def _limits(action: Mapping[str, Any]) -> tuple[np.ndarray | None, np.ndarray | None]:
    if action["low"] is None and action["high"] is None:
        return None, None
    low, high = (np.array(action[name], np.float64) for name in ("low", "high"))
    width = (_whole(action["width"], 1, _MOST_SIDE),)
    fits = low.shape == high.shape == width and np.isfinite([low, high]).all()
    if not fits or not (low < high).all():
        raise ExportError("The manifest's limits of actions are not numbers, low below high.")
    return low, high


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ExportError(f"A whole number from {least} to {most} was expected, got {value!r}.")
    return value


def _observed(port: Port, value: Any) -> np.ndarray:
    """Return one sensor's value with a batch axis; numbers of any float type become float32."""
    array = np.asarray(value)
    if port.dtype == "float32" and array.dtype.kind == "f":
        array = array.astype(np.float32)
        if port.name == "proprio" and not np.isfinite(array).all():
            raise ExportError("proprio holds NaN or infinite numbers.")
    return array[None]


def _fitting(port: Port, value: np.ndarray | None) -> np.ndarray:
    if value is None:
        raise ExportError(f"The input {port.name!r} is missing.")
    if value.shape[1:] != port.shape or value.dtype != port.dtype or not len(value):
        raise ExportError(
            f"{port.name} is {port.dtype} {port.shape}; got {value.dtype} {value.shape[1:]}. "
            "Pictures must come at the model's size."
        )
    return value

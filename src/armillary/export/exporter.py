"""Exporter: a model folder as ONNX files that decide and predict without torch.

    export.json     the manifest: names, shapes, units, limits, digests, versions
    encoder.onnx    sensors -> tokens
    predictor.onnx  tokens, action, memory -> tokens and memory one model step later
    policy.onnx     tokens, tokens of the goal, model steps left -> actions; with a goal policy only
    runner.py       reads the folder and runs it, by numpy and onnxruntime
    README.md       how

Every graph is run by onnxruntime and compared with torch before the folder appears.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch
from torch import nn

import armillary
from armillary.core.errors import CheckFailedError, ConfigError
from armillary.core.files import replacing_folder, write_json
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.values import ActionBounds
from armillary.evaluation.specs import check_action_width
from armillary.export import runner
from armillary.export.graphs import EncoderGraph, PolicyGraph, PredictorGraph, check_sensors
from armillary.export.onnx_files import OPSET, onnx_bytes
from armillary.export.ports import (
    Port,
    described,
    policy_ports,
    predictor_ports,
    random_values,
    sensor_ports,
    token_port,
)
from armillary.models import JEPA, load_model
from armillary.models.goal_policy import GoalPolicy
from armillary.models.goal_policy_file import POLICY_FILE, load_goal_policy

TOLERANCE = 1e-4
_MODEL_FILES = ("config.json", "model.safetensors", "normalizer.safetensors", POLICY_FILE)
_CHECKED = (1, 5)  # batches on which a graph is compared
_README = """# A world model, exported from armillary

`export.json` says what each graph takes and gives. With numpy and onnxruntime:

```python
from runner import Runner

runner = Runner.load(".")
goal = runner.encode({encoded})
chunk = runner.decide(runner.encode({encoded}), goal, steps_left=30)  # [robot steps, action]
tokens, memory = runner.predict(runner.encode({encoded}), chunk)
```
{note}"""
_NO_POLICY = """
This model has no goal policy, so `decide` is refused. `encode` and `predict` work.
"""


@dataclass(frozen=True)
class Robot:
    """What is known about the robot or world that the actions are for.

    Attributes:
        bounds: its limits; None where nobody gave them.
        step_s: seconds that an action lasts, if the model does not say; None where unknown.
        steps: robot steps in which a goal is to be reached, by default; None for any.
        name: of the world; empty for a robot.
    """

    bounds: ActionBounds | None = None
    step_s: float | None = None
    steps: int | None = None
    name: str = ""


@dataclass(frozen=True)
class _Piece:
    """A graph to be written: its network, inputs and outputs."""

    network: nn.Module
    given: tuple[Port, ...]
    later: tuple[Port, ...]


def export_model(folder: Path, out: Path, robot: Robot | None = None) -> dict[str, Any]:
    """Write a model as ONNX files, in one step, and return the manifest.

    Args:
        folder: a model folder.
        out: is made; may be there if it is empty.
        robot: limits and rate of the actions, where they are known.

    Raises:
        CheckFailedError: onnxruntime does not compute what torch computes.
        CheckpointError: the folder is not a complete model.
        ConfigError: a sensor that cannot be exported, limits that are not finite, a model that is
            too large, or a folder ``out`` that holds something.
        ShapeError: the limits have another width than the model's actions.
        StorageError: the disk is full or not writable.
    """
    robot = robot or Robot()
    _check_out(out)
    model = load_model(folder).requires_grad_(False)
    policy = load_goal_policy(folder, model)
    check_sensors(model.config)
    _check_bounds(robot, model)
    pieces = _pieces(model, policy)
    manifest = _manifest(folder, model, robot)
    with replacing_folder(out) as beside:
        for name, piece in pieces.items():
            file = f"{name}.onnx"
            data = onnx_bytes(piece.network, piece.given, piece.later)
            (beside / file).write_bytes(data)
            manifest["files"][file] = {
                "bytes": len(data),
                "sha256": file_sha256(beside / file),
            }
            manifest["graphs"][name] = described(piece.given, piece.later, file)
        write_json(beside / runner.MANIFEST, manifest)  # which the comparison reads
        manifest["largest_difference"] = _compared(beside, model, pieces)
        write_json(beside / runner.MANIFEST, manifest)
        shutil.copyfile(runner.__file__, beside / "runner.py")
        (beside / "README.md").write_text(_readme(pieces))
    return manifest


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: is there and not empty. Choose a new --out, or remove it.")


def limits(low: Sequence[float], high: Sequence[float]) -> ActionBounds:
    """Return the limits of actions.

    Args:
        low: of each action.
        high: of each action.

    Raises:
        ConfigError: numbers that are not finite, or low ones not below high ones.
    """
    both = np.array(low, np.float64), np.array(high, np.float64)
    fits = len(low) == len(high) > 0 and np.isfinite(both).all()
    if not fits or not (both[0] < both[1]).all():
        raise ConfigError(
            "Limits need a finite number for each action, low below high; got "
            f"{[*low]} and {[*high]}."
        )
    return ActionBounds(*both)


def _check_bounds(robot: Robot, model: JEPA) -> None:
    if robot.bounds is not None:
        limits(robot.bounds.low.tolist(), robot.bounds.high.tolist())
        check_action_width(model, robot.bounds, model.config.frame_skip)


def _pieces(model: JEPA, policy: GoalPolicy | None) -> dict[str, _Piece]:
    config = model.config
    sensors = sensor_ports(config)
    encoder = EncoderGraph(model, tuple(port.name for port in sensors))
    state = token_port(config, "tokens", "state of the world, which the other graphs take")
    pieces = {
        "encoder": _Piece(encoder.eval(), sensors, (state,)),
        "predictor": _Piece(PredictorGraph(model).eval(), *predictor_ports(config)),
    }
    if policy is not None:
        acting = PolicyGraph(policy.requires_grad_(False), config.frame_skip)
        pieces["policy"] = _Piece(acting.eval(), *policy_ports(config))
    return pieces


def _manifest(folder: Path, model: JEPA, robot: Robot) -> dict[str, Any]:
    """Return the manifest without what the files themselves say."""
    config, bounds = model.config, robot.bounds
    skip = config.frame_skip
    step_s = robot.step_s if model.step_s is None else model.step_s / skip
    hashes = {
        name: file_sha256(folder / name) for name in _MODEL_FILES if (folder / name).is_file()
    }
    return {
        "format": runner.FORMAT,
        "model": {
            "sha256": json_sha256(hashes),
            "files": hashes,
            "sensors": list(config.sensors),
            "size": config.size,
        },
        "frame_skip": skip,
        "step_s": step_s,
        "control_hz": None if step_s is None else 1 / step_s,
        "model_step_s": None if step_s is None else step_s * skip,
        "action": {
            "width": config.action_width // skip,
            "per_model_step": skip,
            "unit": "the robot's own, as recorded",
            "low": None if bounds is None else bounds.low.astype(np.float64).tolist(),
            "high": None if bounds is None else bounds.high.astype(np.float64).tolist(),
            "clipped_by": "runner",
        },
        "world": robot.name or None,
        "steps": robot.steps,
        "normalisation": _normalisation(model),
        "tolerance": TOLERANCE,
        "graphs": {},
        "files": {},
        "versions": {
            "armillary": armillary.__version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxscript": onnxscript.__version__,
            "onnxruntime": onnxruntime.__version__,
            "opset": OPSET,
        },
    }


def _normalisation(model: JEPA) -> dict[str, Any]:
    """Return the scales that are inside the graphs, for whoever wants to look."""
    scales = {name: value.tolist() for name, value in model.normalizer.state_dict().items()}
    return {"where": "inside the graphs; give raw values"} | scales


def _compared(folder: Path, model: JEPA, pieces: Mapping[str, _Piece]) -> float:
    """Return the largest difference between the files and torch.

    Raises:
        CheckFailedError: it is above the tolerance, or onnxruntime cannot load a file.
    """
    try:
        graphs = runner.Runner.load(folder).graphs
    except runner.ExportError as error:
        raise CheckFailedError(
            f"What was exported cannot be run, so it was removed: {error}"
        ) from error
    worst = 0.0
    for count in _CHECKED:
        every = random_inputs(model, count, np.random.default_rng(count))
        for name, piece in pieces.items():
            worst = max(worst, *differences(piece.network, graphs[name], every[name]).values())
    if not worst <= TOLERANCE:
        raise CheckFailedError(
            f"The exported graphs differ from torch by {worst:.2g}, more than {TOLERANCE:g}; "
            "nothing was written. Try another version of onnxruntime."
        )
    return worst


def random_inputs(
    model: JEPA, count: int, rng: np.random.Generator
) -> dict[str, tuple[np.ndarray, ...]]:
    """Return random inputs of every graph, by its name.

    Sensors and actions are drawn. Tokens are those of the sensors, since some latents are thousands
    of times narrower than what one would draw.

    Args:
        model: whose graphs they are for.
        count: B.
        rng: chance.
    """
    config, scales = model.config, model.normalizer
    sensors = sensor_ports(config)
    drawn = random_values(sensors, count, rng)
    encoder = EncoderGraph(model, tuple(port.name for port in sensors))
    with torch.no_grad():
        tokens = encoder(*map(torch.from_numpy, drawn))[0].numpy()
    given = predictor_ports(config)[0]
    values = dict(zip([port.name for port in given], random_values(given, count, rng), strict=True))
    values["tokens"] = tokens
    if config.action_width:
        flat = values["action"].reshape(count, -1)
        scaled = flat * scales.action_std.numpy() + scales.action_mean.numpy()
        values["action"] = scaled.reshape(values["action"].shape)
    steps = random_values(policy_ports(config)[0][2:], count, rng)
    return {
        "encoder": drawn,
        "predictor": tuple(values.values()),
        "policy": (tokens, np.roll(tokens, 1, 0), *steps),
    }


def differences(
    network: nn.Module, graph: runner.Graph, values: Sequence[np.ndarray]
) -> dict[str, float]:
    """Return the largest difference of each output of a graph from torch's.

    Args:
        network: what the graph was made of.
        graph: the exported one.
        values: inputs in the graph's order.
    """
    names = [port.name for port in graph.inputs]
    with torch.no_grad():
        wanted = network(*map(torch.from_numpy, values))
    found = graph(dict(zip(names, values, strict=True)))
    return {
        port.name: float(np.abs(one - other.numpy()).max())
        for port, one, other in zip(graph.outputs, found, wanted, strict=True)
    }


def _readme(pieces: Mapping[str, _Piece]) -> str:
    names = (f'"{port.name}": {port.name}' for port in pieces["encoder"].given)
    encoded = "{" + ", ".join(names) + "}"
    return _README.format(encoded=encoded, note="" if "policy" in pieces else _NO_POLICY)

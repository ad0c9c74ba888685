"""Checkpoints: a model is a folder of safetensors and JSON. Loading runs nothing from it.

    model.safetensors       weights
    normalizer.safetensors  the scales it was trained with
    config.json             {"architecture": a name of ``ARCHITECTURES``, "config": its arguments,
                             "step_s": seconds of a model step, where known,
                             "trunk": source, revision and licence of a trunk, where it has one}
    README.md               model card
    policy/policy.safetensors  a goal policy, where one was trained (``models/goal_policy_file.py``)

Sizes are compared with the configuration before memory is taken for them.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from armillary.core.errors import ArmillaryError, CheckpointError, FormatError
from armillary.core.files import read_json, replacing_folder, write_json
from armillary.models.config import JEPAConfig, config_values
from armillary.models.jepa import JEPA, untrained
from armillary.models.trunks import TrunkFacts, TrunkTokenizer

ARCHITECTURES = {"jepa": (JEPA, JEPAConfig)}
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt")
_MAX_PARAMETERS = 20_000_000_000
# Of names and shapes; a model of this size has hundreds. A million took 20 s and 1.7 GB to read.
_MAX_HEADER_BYTES = 4 << 20
_NORMALIZER = "normalizer."
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def save_model(model: JEPA, path: Path, card: str = "") -> None:
    """Write a model folder in one step (an older one is replaced).

    Args:
        model: the model.
        path: the folder.
        card: text of the model card.

    Raises:
        StorageError: the disk is full or not writable.
    """
    state = {name: value.detach().contiguous().cpu() for name, value in model.state_dict().items()}
    with replacing_folder(path) as beside:
        write_tensors(
            beside / "model.safetensors",
            {name: value for name, value in state.items() if not name.startswith(_NORMALIZER)},
        )
        write_tensors(
            beside / "normalizer.safetensors",
            {
                name.removeprefix(_NORMALIZER): value
                for name, value in state.items()
                if name.startswith(_NORMALIZER)
            },
        )
        config = {"architecture": "jepa", "config": config_values(model.config)}
        step = {} if model.step_s is None else {"step_s": model.step_s}
        facts = _trunk_facts(model)
        trunk = {} if facts is None else {"trunk": facts}
        write_json(beside / "config.json", config | step | trunk)
        (beside / "README.md").write_text(card or "# A world model trained with armillary\n")


def load_model(path: Path) -> JEPA:
    """Read a model folder, ready for evaluation (float32, no gradients needed).

    Args:
        path: a folder that ``save_model`` wrote.

    Raises:
        CheckpointError: the folder is missing, holds a pickle, names an unknown architecture, or
            its tensors are not exactly those of its configuration.
    """
    _refuse_pickles(path)
    config = _read_config(path / "config.json")
    expected = _expected(config, path)
    own = {name: t.shape for name, t in expected.items() if not name.startswith(_NORMALIZER)}
    scales = {
        name.removeprefix(_NORMALIZER): t.shape
        for name, t in expected.items()
        if name.startswith(_NORMALIZER)
    }
    state = read_tensors(path / "model.safetensors", own)
    loaded_scales = read_tensors(path / "normalizer.safetensors", scales)
    state |= {_NORMALIZER + name: value for name, value in loaded_scales.items()}
    model = untrained(config, 0)  # and not JEPA(config), which would draw from the global state
    model.load_state_dict(state)
    model.step_s = _read_step(path / "config.json")
    tokenizer = model.tokenizers["rgb"] if config.trunk else None
    if isinstance(tokenizer, TrunkTokenizer):
        tokenizer.facts = _read_facts(path / "config.json")
    return model.eval()


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors, and words about them, as safetensors.

    Raises:
        OSError: what the disk refuses.
    """
    try:
        save_file(dict(tensors), path, None if metadata is None else dict(metadata))
    except SafetensorError as error:
        # safetensors wraps the system's error and keeps only its text
        number = 28 if "No space left" in str(error) else 5
        raise OSError(number, str(error), str(path)) from error


def read_tensors(path: Path, expected: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Read a safetensors file whose names and shapes must be exactly the expected ones.

    Args:
        path: the file.
        expected: shapes by name.

    Raises:
        CheckpointError: not a safetensors file, or a tensor is missing, unknown, not finite, or
            of another shape.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; the checkpoint is incomplete.")
    try:
        _compare_names_and_shapes(path, expected)
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a safetensors file ({error}); armillary loads no other format."
        ) from error
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            raise CheckpointError(
                f"{path}: tensor {name!r} holds {tensor.dtype}, not real numbers."
            )
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: tensor {name!r} holds NaN or infinity.")
    return tensors


def config_from_dict(cls: type, values: Any, where: str) -> Any:
    """Build a frozen dataclass from plain JSON, every field checked by its annotation.

    Args:
        cls: the dataclass.
        values: a JSON object.
        where: what to call it in an error.

    Raises:
        CheckpointError: a field is unknown or of another type.
    """
    if not isinstance(values, dict):
        raise CheckpointError(f"{where}: an object was expected, got {type(values).__name__}.")
    fields = {field.name for field in dataclasses.fields(cls)}
    if unknown := sorted(set(values) - fields):
        raise CheckpointError(f"{where}: unknown field {unknown[0]!r}; known: {sorted(fields)}.")
    hints = typing.get_type_hints(cls)
    arguments = {
        name: _plain_value(hints[name], value, f"{where}.{name}") for name, value in values.items()
    }
    try:
        return cls(**arguments)
    except (TypeError, ArmillaryError) as error:
        raise CheckpointError(f"{where}: {error}") from error


def _plain_value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return config_from_dict(typing.cast(type, hint), value, where)
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list):
        return tuple(_plain_value(choices[0], item, where) for item in value)
    if origin is typing.Literal and value in choices:
        return value
    if origin is not None:
        raise CheckpointError(f"{where}: {hint} was expected, got {value!r}.")
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:
            raise CheckpointError(f"{where}: a finite number was expected.")
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise CheckpointError(f"{where}: {hint.__name__} was expected, got {value!r}.")
    return value


def _read_config(path: Path) -> JEPAConfig:
    try:
        document = read_json(path)
    except FormatError as error:
        raise CheckpointError(str(error)) from error
    name = document.get("architecture") if isinstance(document, dict) else None
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise CheckpointError(
            f"{path}: unknown architecture {name!r}; known: {', '.join(ARCHITECTURES)}."
        )
    return config_from_dict(ARCHITECTURES[name][1], document.get("config"), f"{path}: config")


def _read_step(path: Path) -> float | None:
    step_s = read_json(path).get("step_s")
    if step_s is None:
        return None
    if isinstance(step_s, bool) or not isinstance(step_s, int | float) or not 0 < step_s < 1e9:
        raise CheckpointError(f"{path}: step_s must be seconds above 0, got {step_s!r}.")
    return float(step_s)


def _trunk_facts(model: JEPA) -> dict[str, Any] | None:
    """Return what is known of a model's trunk: source, revision and licence among it."""
    return getattr(model.tokenizers["rgb"], "facts", None) if model.config.trunk else None


def _read_facts(path: Path) -> dict[str, Any] | None:
    facts = read_json(path).get("trunk")
    if facts is None:
        return None
    return dataclasses.asdict(config_from_dict(TrunkFacts, facts, f"{path}: trunk"))


def _expected(config: JEPAConfig, path: Path) -> dict[str, Tensor]:
    """Return the state that a configuration asks for, by name, without taking memory for it."""
    try:
        with torch.device("meta"):
            model = JEPA(config)
    except (ArmillaryError, RuntimeError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: no model has this configuration ({reason}).") from error
    # with what is no weight and not in the file, such as the rays of all pixels
    count = sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
    if count > _MAX_PARAMETERS:
        raise CheckpointError(f"{path}: {count:,} numbers are configured; refused as too many.")
    return model.state_dict()


def _refuse_pickles(path: Path) -> None:
    if not path.is_dir():
        raise CheckpointError(f"{path}: there is no such folder; a model folder was expected.")
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in _PICKLES:
            raise CheckpointError(
                f"{file}: holds a pickle, which can run code when it is loaded. armillary loads "
                "safetensors only; remove it or convert the model."
            )


def _compare_names_and_shapes(path: Path, expected: Mapping[str, torch.Size]) -> None:
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > _MAX_HEADER_BYTES:
        raise SafetensorError(
            f"a header of {header:,} bytes; at most {_MAX_HEADER_BYTES:,} are read"
        )
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        for name in sorted(set(expected) - names):
            raise CheckpointError(f"{path}: tensor {name!r} is missing.")
        for name in sorted(names - set(expected)):
            raise CheckpointError(f"{path}: tensor {name!r} does not belong to this model.")
        for name, shape in expected.items():
            came = tuple(file.get_slice(name).get_shape())
            if came != tuple(shape):
                raise CheckpointError(
                    f"{path}: tensor {name!r} has shape {came}, expected {tuple(shape)}."
                )

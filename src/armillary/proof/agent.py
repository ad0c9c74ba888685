"""Agent: one folder, one digest, for everything that decides: weights, scales and the planner.

    config.json             architecture, as ``models/checkpoint.py`` writes it
    model.safetensors       weights
    normalizer.safetensors  the scales it was trained with
    planner.json            how it plans (canonical JSON, closed)

The digest A is the SHA-256 of the files' SHA-256, raw and side by side, in the order of their
names, as OpenSSF Model Signing does it. Nothing else may be in the folder. Where single tasks are
planned for with other settings, ``planner.json`` lists them, and the card marks the row.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from armillary.control.model_policy import ModelPolicy
from armillary.control.specs import ModelSpec
from armillary.core.errors import CheckFailedError, CheckpointError, ConfigError, FormatError
from armillary.core.files import replacing_folder
from armillary.core.hashing import file_sha256
from armillary.core.values import WorldSpec
from armillary.models import load_model
from armillary.models.checkpoint import config_from_dict
from armillary.planning import PLANNERS, Planning
from armillary.proof.canonical import (
    Limits,
    canonical_bytes,
    parse_json,
    read_bytes,
    read_canonical,
)
from armillary.proof.shapes import (
    Anything,
    Fields,
    MapOf,
    Name,
    Nullable,
    Text,
    Whole,
)

FORMAT = "armillary.planner/2"
PLANNER_FILE = "planner.json"
CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "normalizer.safetensors")
MODEL_FILES = (CONFIG, *WEIGHTS)
FILES = (*MODEL_FILES, PLANNER_FILE)
_LIMITS = Limits(bytes=1 << 16, depth=6, values=1000)
# A tensor takes some 80 bytes of the header: a million of them take 20 s and 1.7 GB to list.
_MAX_HEADER = 1 << 20
PLANNER = Fields(
    {
        "format": Text(choices=(FORMAT,)),
        "planner": Text(choices=tuple(PLANNERS)),
        "settings": Anything(),
        "history": Whole(1, 1000),
        "replan": Whole(1, 1000),
        "budget_model_steps": Nullable(Whole(1)),
    },
    {"overrides": MapOf(Anything(), 64, Name(40))},
)
# Settings of the planner by task, where they are not those of ``settings``.
Overrides = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Agent:
    """An agent on disk; as a policy factory it makes the policy, if the folder is still the same.

    Attributes:
        folder: where it is.
        digest: A, hexadecimal.
        spec: how it acts, where a task has no settings of its own.
        parameters: numbers in its weights.
        overrides: settings of the planner that differ, by task.
    """

    folder: Path
    digest: str
    spec: ModelSpec
    parameters: int
    overrides: Overrides = field(default_factory=dict)

    @property
    def weights(self) -> str:
        """SHA-256 of the file of weights, as a training's end has it in the ledger."""
        return file_sha256(self.folder / "model.safetensors")

    @property
    def model_steps(self) -> int:
        """Model steps that one decision takes."""
        planning = self.spec.planning
        return PLANNERS[planning.planner].Config(**planning.settings).model_steps

    def for_task(self, task: str) -> Agent:
        """Return the agent as it acts in a suite's task: with the settings that it has for it."""
        own = self.overrides.get(task)
        if own is None:
            return self
        planning = self.spec.planning
        planning = replace(planning, settings={**planning.settings, **own})
        return replace(self, spec=replace(self.spec, planning=planning), overrides={})

    def identity(self) -> str:
        """Return its name in records."""
        return f"agent {self.digest}"

    def __call__(self, world: WorldSpec) -> ModelPolicy:
        """Return the policy, with the model loaded.

        Raises:
            CheckFailedError: the folder is no longer what it was when it was opened.
            ArmillaryError: as ``ModelSpec``.
        """
        self.check_unchanged()
        return self.spec.searching(world)

    def check_unchanged(self) -> None:
        """Check that the folder is what it was.

        Raises:
            CheckFailedError: it is not.
        """
        if agent_digest(self.folder) != self.digest:
            raise CheckFailedError(
                f"{self.folder}: was changed after it was opened; its digest is not "
                f"{self.digest[:16]} any more."
            )


def pack_agent(
    model_folder: Path, spec: ModelSpec, out: Path, overrides: Overrides | None = None
) -> Agent:
    """Write an agent's folder from a model folder and a way to plan, in one step.

    Args:
        model_folder: the model; loaded once, so that what is packed can act.
        spec: how it plans; its own ``folder`` is not used.
        out: the new folder.
        overrides: settings of the planner that differ, by a suite's task.

    Raises:
        CheckpointError: not a model.
        ConfigError: a planner that cannot be, one that decides for several episodes at once, or
            ``out`` exists.
        StorageError: the disk is full or not writable.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists already; an agent is never changed. Name another folder.")
    load_model(model_folder)
    text = canonical_bytes(planner_settings(spec, overrides or {}))
    with replacing_folder(out) as beside:
        for name in MODEL_FILES:
            shutil.copyfile(model_folder / name, beside / name)
        (beside / PLANNER_FILE).write_bytes(text)
        open_agent(beside)
    return open_agent(out)


def open_agent(folder: Path) -> Agent:
    """Return the agent of a folder; its weights are not loaded.

    Raises:
        CheckpointError: a file is missing or does not belong there, a link, a pickle, or one with
            more tensors than are read.
        FormatError: ``planner.json`` or ``config.json`` is not what it must be.
        ConfigError: a planner that cannot be.
    """
    digest = agent_digest(folder)
    for name in WEIGHTS:
        _check_header(folder / name)
    # an object that names a key twice says one thing to one reader and another to the next
    parse_json(read_bytes(folder / CONFIG, _LIMITS.bytes), str(folder / CONFIG), _LIMITS)
    value = read_canonical(folder / PLANNER_FILE, _LIMITS)
    spec = _spec(folder, value)
    parameters = _count(folder / "model.safetensors")
    return Agent(folder, digest, spec, parameters, _overrides(folder, spec, value))


def agent_digest(folder: Path) -> str:
    """Return A, the digest of an agent's folder.

    Raises:
        CheckpointError: a file is missing or does not belong there, a link, or a pickle.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise CheckpointError(f"{folder}: there is no such folder; an agent's was expected.")
    found = sorted(folder.iterdir())
    for path in found:
        if path.name not in FILES or path.is_symlink() or not path.is_file():
            raise CheckpointError(
                f"{path}: does not belong into an agent's folder, which holds "
                f"{', '.join(FILES)} as plain files and nothing else."
            )
    for name in (*MODEL_FILES, PLANNER_FILE):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name}: is missing; pack the agent again.")
    raw = [bytes.fromhex(file_sha256(path)) for path in found]
    return hashlib.sha256(b"".join(raw)).hexdigest()


def planner_settings(spec: ModelSpec, overrides: Overrides | None = None) -> dict[str, Any]:
    """Return a spec's way to plan as ``planner.json`` holds it, every setting said.

    Args:
        spec: the way to plan.
        overrides: settings that differ, by task.

    Raises:
        ConfigError: a planner that cannot be, one that decides for several episodes at once, or one
            that needs a goal policy, which the check of a scorecard does not know.
    """
    if spec.batch != 1:
        raise ConfigError(
            f"An agent decides for one episode at a time, so that no decision depends on another "
            f"episode; got batch {spec.batch}."
        )
    planning = spec.planning
    if planning.planner not in PLANNERS:
        raise ConfigError(
            "An agent of a scorecard searches by itself, with "
            f"{', '.join(PLANNERS)}; got {planning.planner or 'no planner'!r}."
        )
    value = {
        "format": FORMAT,
        "planner": planning.planner,
        "settings": dict(planning.settings),
        "history": planning.remembered,
        "replan": planning.replan,
        "budget_model_steps": spec.budget_model_steps,
    }
    checked = _spec(spec.folder, value)
    value["settings"] = dict(checked.planning.settings)
    if not overrides:
        return value
    value["overrides"] = {task: dict(own) for task, own in overrides.items()}
    return {**value, "overrides": _overrides(spec.folder, checked, value)}


def _spec(folder: Path, value: Any) -> ModelSpec:
    where = str(folder / PLANNER_FILE)
    PLANNER.check(value, where)
    settings = _settings(value["planner"], value["settings"], where)
    planning = Planning(
        value["planner"], settings, history=value["history"], replan=value["replan"]
    )
    return ModelSpec(folder, planning, value["budget_model_steps"])


def _overrides(folder: Path, spec: ModelSpec, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs by task, as the planner reads it."""
    where, found = str(folder / PLANNER_FILE), {}
    for task, own in value.get("overrides", {}).items():
        planner, usual = spec.planning.planner, dict(spec.planning.settings)
        if not own or not own.keys() <= usual.keys():
            raise FormatError(
                f"{where}: overrides of {task!r} are settings of the planner {planner}: "
                f"{', '.join(sorted(usual))}."
            )
        checked = _settings(planner, {**usual, **own}, f"{where}: {task}")
        found[task] = {name: checked[name] for name in own}
    return found


def _settings(planner: str, settings: Any, where: str) -> dict[str, Any]:
    try:
        return asdict(config_from_dict(PLANNERS[planner].Config, settings, where))
    except CheckpointError as error:
        raise FormatError(str(error)) from error


def _check_header(path: Path) -> None:
    """Refuse a safetensors file with more tensors than a model has, before they are listed.

    Raises:
        CheckpointError: its header is larger than is read.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _MAX_HEADER:
        raise CheckpointError(
            f"{path}: its header takes {size:,} bytes; at most {_MAX_HEADER:,} are read."
        )


def _count(path: Path) -> int:
    """Return how many numbers a safetensors file holds, from its header."""
    total = 0
    try:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118  (the handle is no mapping)
                size = 1
                for width in file.get_slice(name).get_shape():
                    size *= int(width)
                total += size
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error}).") from error
    return total

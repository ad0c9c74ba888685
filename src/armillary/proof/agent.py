"""Agent: one folder, one digest, for everything that decides: weights, scales and the planner.

    config.json             architecture, as ``models/checkpoint.py`` writes it
    model.safetensors       weights
    normalizer.safetensors  the scales it was trained with
    planner.json            how it plans (canonical JSON, closed)
    prior.safetensors       a goal prior, where it plans with one

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
from armillary.models import load_model, load_prior
from armillary.models.checkpoint import config_from_dict
from armillary.models.prior_file import PRIOR_FILE
from armillary.planning import PLANNERS, proposal_steps
from armillary.proof.canonical import Limits, canonical_bytes, read_canonical
from armillary.proof.shapes import (
    Anything,
    Fields,
    Flag,
    ListOf,
    MapOf,
    Name,
    Nullable,
    Number,
    Text,
    Whole,
)

FORMAT = "armillary.planner/1"
PLANNER_FILE = "planner.json"
MODEL_FILES = ("config.json", "model.safetensors", "normalizer.safetensors")
FILES = (*MODEL_FILES, PLANNER_FILE, PRIOR_FILE)
_LIMITS = Limits(bytes=1 << 16, depth=6, values=1000)
PLANNER = Fields(
    {
        "format": Text(choices=(FORMAT,)),
        "planner": Text(choices=tuple(PLANNERS)),
        "settings": Anything(),
        "history": Whole(1, 1000),
        "replan": Whole(1, 1000),
        "discount": Number(0.0, 1.0),
        "summed": Flag(),
        "budget_model_steps": Nullable(Whole(1)),
        "observes": Nullable(ListOf(Name(), 16, 1)),
        "prior": Flag(),
        "proposals": Whole(0, 100_000),
        "value_weight": Number(0.0, 1e6),
    },
    # agents that were packed earlier say how many episodes they decide for at once: one
    {"overrides": MapOf(Anything(), 64, Name(40)), "batch": Whole(1, 1)},
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
        parameters: numbers in its weights, the prior's included where it is used.
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
        spec = self.spec
        settings = PLANNERS[spec.planner].Config(**spec.planner_settings)
        proposed = proposal_steps(spec.proposals, settings.length) if spec.prior else 0
        return settings.model_steps + proposed

    def for_task(self, task: str) -> Agent:
        """Return the agent as it acts in a suite's task: with the settings that it has for it."""
        own = self.overrides.get(task)
        if own is None:
            return self
        settings = {**self.spec.planner_settings, **own}
        return replace(self, spec=replace(self.spec, planner_settings=settings), overrides={})

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
        return self.spec(world)

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
        CheckpointError: not a model, or without the prior it should use.
        ConfigError: a planner that cannot be, one that decides for several episodes at once, or
            ``out`` exists.
        StorageError: the disk is full or not writable.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists already; an agent is never changed. Name another folder.")
    model = load_model(model_folder)
    if spec.prior and load_prior(model_folder, model) is None:
        raise CheckpointError(
            f"{model_folder}: holds no goal prior that the agent could plan with."
        )
    text = canonical_bytes(planner_settings(spec, overrides or {}))
    with replacing_folder(out) as beside:
        for name in (*MODEL_FILES, *([PRIOR_FILE] if spec.prior else [])):
            shutil.copyfile(model_folder / name, beside / name)
        (beside / PLANNER_FILE).write_bytes(text)
        open_agent(beside)
    return open_agent(out)


def open_agent(folder: Path) -> Agent:
    """Return the agent of a folder; its weights are not loaded.

    Raises:
        CheckpointError: a file is missing or does not belong there, a link, or a pickle.
        FormatError: ``planner.json`` is not what it must be.
        ConfigError: a planner that cannot be.
    """
    digest = agent_digest(folder)
    value = read_canonical(folder / PLANNER_FILE, _LIMITS)
    spec = _spec(folder, value)
    if spec.prior != (folder / PRIOR_FILE).is_file():
        raise CheckpointError(
            f"{folder}: {PRIOR_FILE} must be there exactly if {PLANNER_FILE} plans with a prior."
        )
    files = ("model.safetensors", *([PRIOR_FILE] if spec.prior else []))
    parameters = sum(_count(folder / name) for name in files)
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
        ConfigError: a planner that cannot be, one that decides for several episodes at once, or a
            way to act that the check of a scorecard does not know.
    """
    if spec.batch != 1:
        raise ConfigError(
            f"An agent decides for one episode at a time, so that no decision depends on another "
            f"episode; got batch {spec.batch}."
        )
    if spec.hold or spec.adapt is not None or spec.together or spec.consensus > 1:
        raise ConfigError(
            "An agent neither holds its actions, nor compares its looks, nor adapts within an "
            "episode: whoever checks a scorecard cannot make such decisions again."
        )
    value = {
        "format": FORMAT,
        "planner": spec.planner,
        "settings": dict(spec.planner_settings),
        "history": spec.history,
        "replan": spec.replan,
        "discount": spec.discount,
        "summed": spec.summed,
        "budget_model_steps": spec.budget_model_steps,
        "observes": None if spec.observes is None else list(spec.observes),
        "prior": spec.prior,
        "proposals": spec.proposals,
        "value_weight": spec.value_weight,
    }
    checked = _spec(spec.folder, value)
    value["settings"] = dict(checked.planner_settings)
    if not overrides:
        return value
    value["overrides"] = {task: dict(own) for task, own in overrides.items()}
    return {**value, "overrides": _overrides(spec.folder, checked, value)}


def _spec(folder: Path, value: Any) -> ModelSpec:
    where = str(folder / PLANNER_FILE)
    PLANNER.check(value, where)
    not_fields = ("format", "settings", "overrides")
    given: dict[str, Any] = {name: item for name, item in value.items() if name not in not_fields}
    settings = _settings(value["planner"], value["settings"], where)
    given |= {name: float(value[name]) for name in ("discount", "value_weight")}
    given["observes"] = None if value["observes"] is None else tuple(value["observes"])
    return ModelSpec(folder, planner_settings=settings, **given)


def _overrides(folder: Path, spec: ModelSpec, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs by task, as the planner reads it."""
    where, found = str(folder / PLANNER_FILE), {}
    for task, own in value.get("overrides", {}).items():
        usual = dict(spec.planner_settings)
        if not own or not own.keys() <= usual.keys():
            raise FormatError(
                f"{where}: overrides of {task!r} are settings of the planner {spec.planner}: "
                f"{', '.join(sorted(usual))}."
            )
        checked = _settings(spec.planner, {**usual, **own}, f"{where}: {task}")
        found[task] = {name: checked[name] for name in own}
    return found


def _settings(planner: str, settings: Any, where: str) -> dict[str, Any]:
    try:
        return asdict(config_from_dict(PLANNERS[planner].Config, settings, where))
    except CheckpointError as error:
        raise FormatError(str(error)) from error


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

"""Agent: one folder, one digest, for everything that decides: weights, scales and the planner.

    config.json             architecture, as ``models/checkpoint.py`` writes it
    model.safetensors       weights
    normalizer.safetensors  the scales it was trained with
    planner.json            how it plans (canonical JSON, closed)
    policy/policy.safetensors   the goal policy, of an agent that follows one (direct, guided)
    surprise/normal.safetensors its errors in possible clips, of an agent that judges clips

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

from armillary.core.errors import CheckFailedError, CheckpointError, ConfigError, FormatError
from armillary.core.files import replacing_folder
from armillary.core.hashing import file_sha256
from armillary.core.processes import one_thread
from armillary.core.values import WorldSpec
from armillary.evaluation.goal_conditioned_policy import GoalConditionedPolicy
from armillary.evaluation.model_policy import ModelPolicy
from armillary.evaluation.specs import ModelSpec, has_goal_policy
from armillary.models import load_model
from armillary.models.checkpoint import config_from_dict
from armillary.models.goal_policy_file import POLICY_FILE, load_goal_policy
from armillary.objectives.whitening import Whitening
from armillary.planning import PLANNERS, Planning
from armillary.planning.guided import GuidedConfig
from armillary.planning.planning import DIRECT, GUIDED, WAYS
from armillary.proof.canonical import (
    Limits,
    canonical_bytes,
    parse_json,
    read_bytes,
    read_canonical,
)
from armillary.proof.quadruplets.normal_file import NORMAL_FILE, save_normal
from armillary.proof.quadruplets.policy import (
    MODEL_STEPS,
    SurprisePolicy,
    SurpriseSpec,
    check_judge,
)
from armillary.proof.quadruplets.world import Quadruplets
from armillary.proof.shapes import (
    Anything,
    Fields,
    MapOf,
    Name,
    Nullable,
    Text,
    Whole,
)
from armillary.understanding.suites.quadruplets.expectation import fit_normal

FORMAT = "armillary.planner/2"
PLANNER_FILE = "planner.json"
CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "normalizer.safetensors")
MODEL_FILES = (CONFIG, *WEIGHTS)
FILES = (*MODEL_FILES, PLANNER_FILE, POLICY_FILE, NORMAL_FILE)
_FOLDERS = tuple(Path(name).parent.name for name in (POLICY_FILE, NORMAL_FILE))
# Plans nothing: it says how surprising a clip is.
SURPRISE = "surprise"
# Those that follow a goal policy, which lies in the agent's folder with the model.
FOLLOWING = (DIRECT, GUIDED)
_LIMITS = Limits(bytes=1 << 16, depth=6, values=1000)
# A tensor takes some 80 bytes of the header: a million of them take 20 s and 1.7 GB to list.
_MAX_HEADER = 1 << 20
PLANNER = Fields(
    {
        "format": Text(choices=(FORMAT,)),
        "planner": Text(choices=(*WAYS, SURPRISE)),
        "settings": Anything(),
        "history": Whole(1, 1000),
        "replan": Whole(1, 1000),
        "budget_model_steps": Nullable(Whole(1)),
    },
    {"overrides": MapOf(Anything(), 64, Name(40))},
)
_JUDGE = {
    "format": FORMAT,
    "planner": SURPRISE,
    "settings": {},
    "history": 1,
    "replan": 1,
    "budget_model_steps": None,
}
# Settings of the planner by task, where they are not those of ``settings``.
Overrides = Mapping[str, Mapping[str, Any]]
Spec = ModelSpec | SurpriseSpec


@dataclass(frozen=True)
class Agent:
    """An agent on disk; as a policy factory it makes the policy, if the folder is still the same.

    Attributes:
        folder: where it is.
        digest: A, hexadecimal.
        spec: how it acts, where a task has no settings of its own.
        parameters: numbers in its weights, those of its goal policy, or of its errors in possible
            clips, included.
        overrides: settings of the planner that differ, by task.
    """

    folder: Path
    digest: str
    spec: Spec
    parameters: int
    overrides: Overrides = field(default_factory=dict)

    @property
    def weights(self) -> str:
        """SHA-256 of the file of weights, as a training's end has it in the ledger."""
        return file_sha256(self.folder / "model.safetensors")

    @property
    def judges(self) -> bool:
        """Whether it judges clips, and plans nothing."""
        return isinstance(self.spec, SurpriseSpec)

    @property
    def model_steps(self) -> int:
        """Most model steps that one decision takes."""
        if isinstance(self.spec, SurpriseSpec):
            return MODEL_STEPS
        planning = self.spec.planning
        if planning.planner == DIRECT:
            return 0
        config = GuidedConfig if planning.planner == GUIDED else PLANNERS[planning.planner].Config
        return config(**planning.settings).model_steps

    def for_task(self, task: str) -> Agent:
        """Return the agent as it acts in a suite's task: with the settings that it has for it."""
        own = self.overrides.get(task)
        if own is None or isinstance(self.spec, SurpriseSpec):
            return self
        planning = self.spec.planning
        planning = replace(planning, settings={**planning.settings, **own})
        return replace(self, spec=replace(self.spec, planning=planning), overrides={})

    def identity(self) -> str:
        """Return its name in records."""
        return f"agent {self.digest}"

    def __call__(self, world: WorldSpec) -> ModelPolicy | GoalConditionedPolicy | SurprisePolicy:
        """Return the policy, with the model loaded.

        Raises:
            CheckFailedError: the folder is no longer what it was when it was opened.
            ArmillaryError: as ``ModelSpec`` or ``SurpriseSpec``.
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
        model_folder: the model; loaded once, so that what is packed can act. Its goal policy is
            packed, too, where the agent follows it.
        spec: how it plans; its own ``folder`` is not used.
        out: the new folder.
        overrides: settings of the planner that differ, by a suite's task.

    Raises:
        CheckpointError: not a model, or one without the goal policy that its planner follows.
        ConfigError: a planner that cannot be, one that decides for several episodes at once, or
            ``out`` exists.
        StorageError: the disk is full or not writable.
    """
    _refuse_existing(out)
    spec = replace(spec, planning=spec.planning.fitting(has_goal_policy(model_folder)))
    text = canonical_bytes(planner_settings(spec, overrides or {}))
    names, policy = list(MODEL_FILES), load_goal_policy(model_folder, load_model(model_folder))
    if _follows(spec):
        if policy is None:
            raise CheckpointError(
                f"{model_folder}: contains no goal policy, which the planner "
                f"{spec.planning.planner} follows. Train one with: armillary policy "
                f"{model_folder} DATASET"
            )
        names.append(POLICY_FILE)
    with replacing_folder(out) as beside:
        for name in names:
            (beside / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(model_folder / name, beside / name)
        (beside / PLANNER_FILE).write_bytes(text)
        open_agent(beside)
    return open_agent(out)


def pack_judge(model_folder: Path, out: Path, normal: Whitening | None = None) -> Agent:
    """Write the folder of an agent that judges clips, in one step.

    Args:
        model_folder: a model of the pictures of the stage.
        out: the new folder.
        normal: its errors in possible clips; None measures them here, on scenes of the training
            split.

    Raises:
        CheckpointError: not a model.
        ShapeError: a model that sees something else than clips.
        ConfigError: ``out`` exists.
        StorageError: the disk is full or not writable.
    """
    _refuse_existing(out)
    model = load_model(model_folder)
    check_judge(model)
    if normal is None:
        with one_thread():
            normal = fit_normal(model)
    with replacing_folder(out) as beside:
        for name in MODEL_FILES:
            shutil.copyfile(model_folder / name, beside / name)
        (beside / NORMAL_FILE).parent.mkdir()
        save_normal(normal, beside / NORMAL_FILE)
        (beside / PLANNER_FILE).write_bytes(canonical_bytes(_JUDGE))
        open_agent(beside)(Quadruplets().spec)
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
    if has_goal_policy(folder) != _follows(spec):
        missing = "misses its goal policy" if _follows(spec) else "has a goal policy to no end"
        raise CheckpointError(
            f"{folder}: {missing}: its planner is {value['planner']}. Pack the agent again."
        )
    judges = isinstance(spec, SurpriseSpec)
    if (folder / NORMAL_FILE).is_file() != judges:
        missing = "misses" if judges else "has to no end"
        raise CheckpointError(
            f"{folder}: {missing} its errors in possible clips ({NORMAL_FILE}): its planner is "
            f"{value['planner']}. Pack the agent again."
        )
    for name, there in ((POLICY_FILE, _follows(spec)), (NORMAL_FILE, judges)):
        if there:
            _check_header(folder / name)
            parameters += _count(folder / name)
    return Agent(folder, digest, spec, parameters, _overrides(folder, spec, value))


def agent_digest(folder: Path) -> str:
    """Return A, the digest of an agent's folder.

    Raises:
        CheckpointError: a file is missing or does not belong there, a link, or a pickle.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise CheckpointError(f"{folder}: there is no such folder; an agent's was expected.")
    found = _files(folder)
    for path in found:
        name = path.relative_to(folder).as_posix()
        if name not in FILES or path.is_symlink() or not path.is_file():
            raise CheckpointError(
                f"{path}: does not belong into an agent's folder, which holds "
                f"{', '.join(FILES)} as plain files and nothing else."
            )
    for name in (*MODEL_FILES, PLANNER_FILE):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name}: is missing; pack the agent again.")
    raw = [bytes.fromhex(file_sha256(path)) for path in found]
    return hashlib.sha256(b"".join(raw)).hexdigest()


def _files(folder: Path) -> list[Path]:
    """Return what lies in an agent's folder, and in the folders there may be in it, by name."""
    found = []
    for path in sorted(folder.iterdir()):
        inside = path.name in _FOLDERS and path.is_dir() and not path.is_symlink()
        found += (sorted(path.iterdir()) if inside else []) or [path]
    return found


def _refuse_existing(out: Path) -> None:
    if out.exists():
        raise ConfigError(f"{out}: exists already; an agent is never changed. Name another folder.")


def _follows(spec: Spec) -> bool:
    """Tell whether an agent acts by a goal policy."""
    return isinstance(spec, ModelSpec) and spec.planning.planner in FOLLOWING


def planner_settings(spec: ModelSpec, overrides: Overrides | None = None) -> dict[str, Any]:
    """Return a spec's way to plan as ``planner.json`` holds it, every setting said.

    Args:
        spec: the way to plan.
        overrides: settings that differ, by task.

    Raises:
        ConfigError: a planner that cannot be, or one that decides for several episodes at once.
    """
    if spec.batch != 1:
        raise ConfigError(
            f"An agent decides for one episode at a time, so that no decision depends on another "
            f"episode; got batch {spec.batch}."
        )
    planning = spec.planning
    if planning.planner not in WAYS:
        raise ConfigError(
            f"An agent of a scorecard names its planner: {', '.join(WAYS)}; got "
            f"{planning.planner or 'no planner'!r}."
        )
    value = {
        "format": FORMAT,
        "planner": planning.planner,
        "settings": dict(planning.settings),
        "history": planning.remembered,
        "replan": planning.replan,
        "budget_model_steps": spec.budget_model_steps,
    }
    checked = _planning_spec(spec.folder, value)
    value["settings"] = dict(checked.planning.settings)
    if not overrides:
        return value
    value["overrides"] = {task: dict(own) for task, own in overrides.items()}
    return {**value, "overrides": _overrides(spec.folder, checked, value)}


def _spec(folder: Path, value: Any) -> Spec:
    where = str(folder / PLANNER_FILE)
    PLANNER.check(value, where)
    if value["planner"] != SURPRISE:
        return _planning_spec(folder, value)
    if value != _JUDGE:
        raise FormatError(f"{where}: the planner {SURPRISE} has no settings.")
    return SurpriseSpec(folder)


def _planning_spec(folder: Path, value: Any) -> ModelSpec:
    where = str(folder / PLANNER_FILE)
    PLANNER.check(value, where)
    planner, history, replan = value["planner"], value["history"], value["replan"]
    settings = _settings(planner, value["settings"], where)
    if planner in FOLLOWING:
        if (history, replan) != (1, 1):
            raise FormatError(
                f"{where}: with the planner {planner}, history and replan are 1; a guided search "
                "has a history among its settings."
            )
        history = 0
    planning = Planning(planner, settings, history=history, replan=replan)
    return ModelSpec(folder, planning, value["budget_model_steps"])


def _overrides(folder: Path, spec: Spec, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs by task, as the planner reads it."""
    where, found = str(folder / PLANNER_FILE), {}
    if isinstance(spec, SurpriseSpec):
        return {}
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
    if planner == DIRECT:
        if settings != {}:
            raise FormatError(f"{where}: the planner {planner} has no settings.")
        return {}
    config = GuidedConfig if planner == GUIDED else PLANNERS[planner].Config
    try:
        return asdict(config_from_dict(config, settings, where))
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

"""Rerun views: an episode of a dataset or of an evaluation as a file for the Rerun viewer.

Of a dataset: all that was recorded, and of a model what it predicted and how surprised it was.
Of an evaluation: the recorded actions are done again in the world, and shown with the goal, the
distance to it and what the planner meant to do next.

Source: ``report/rerun_file.py`` for where things are in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from armillary.core.errors import ConfigError, FormatError
from armillary.core.progress import Progress, silent
from armillary.core.values import Latent, Observation, Stream, StreamKind
from armillary.data import Cache, Dataset, Windows, open_dataset
from armillary.data.dataset import CAMERAS
from armillary.data.depth import to_millimetres
from armillary.evaluation import Manifest, Record, read_records
from armillary.evaluation.carry import Decision, unpack
from armillary.evaluation.episode import check_action
from armillary.evaluation.manifest import EpisodeSpec, draw_goal
from armillary.evaluation.records import actions_of
from armillary.evaluation.worlds import WorldFactory
from armillary.models import JEPA, load_model
from armillary.planning.state import PlannerState, fresh_state
from armillary.proof.manifests import read_manifest
from armillary.recipes.recipe import prepared
from armillary.report.rerun_file import RerunFile, rerun_file
from armillary.services.asking import step_of, stride_of, surprise_clip, whole_episode
from armillary.services.view.folder import kind_of
from armillary.services.view.records import BESIDE
from armillary.training.decoding import fit_decoder
from armillary.worlds.registry import GYM_PREFIX
from armillary.zoo.finding import find_model

_AHEAD = 12  # model steps that are predicted before the model sees again
_DECODER_STEPS = 600
_DECODER_FRAMES = 3000


@dataclass(frozen=True)
class RerunView:
    """What was written.

    Attributes:
        file: for the viewer.
        steps: that it shows.
        said: what it is, in words.
    """

    file: Path
    steps: int
    said: str


def view_rerun(
    path: Path,
    file: Path,
    episode: int = 0,
    model: str = "",
    progress: Progress = silent,
    module: str = "",
) -> RerunView:
    """Write one episode of a dataset or of an evaluation for the Rerun viewer.

    Args:
        path: dataset or evaluation.
        file: to be written.
        episode: number of it.
        model: as in ``rerun_dataset``.
        progress: as in ``rerun_dataset``.
        module: as in ``rerun_evaluation``.

    Raises:
        FormatError: neither of the two lies there.
        ConfigError: a model was named for an evaluation, a module for a dataset, or ``file`` lies
            in the dataset.
    """
    kind = kind_of(path)
    if kind == "dataset":
        if module:
            raise ConfigError("--module is for an evaluation, whose world may import it.")
        if file.resolve().is_relative_to(path.resolve()):
            raise ConfigError(
                f"{file}: lies in the dataset, which it would change; name a file elsewhere."
            )
        return rerun_dataset(path, file, episode, model, progress)
    if kind != "evaluation":
        raise FormatError(f"{path}: --rerun shows episodes of a dataset or an evaluation.")
    if model:
        raise ConfigError("--model is for a dataset; an evaluation shows the policy's own plans.")
    return rerun_evaluation(path, file, episode, module)


def rerun_dataset(
    path: Path,
    file: Path,
    episode: int = 0,
    model: str = "",
    progress: Progress = silent,
) -> RerunView:
    """Write one episode of a dataset, and what a model makes of it.

    Args:
        path: the dataset.
        file: to be written.
        episode: number of it.
        model: model folder, run folder or Hub id; empty for none. What it predicts is drawn by a
            small decoder that is trained on the spot, in a minute or less.
        progress: called while the dataset is prepared and the decoder is trained.

    Raises:
        DatasetError: no dataset, no such episode, or a damaged one.
        CheckpointError: not a model.
        ShapeError: the model needs streams that the dataset does not have.
        MissingExtraError: Rerun is not installed.
        StorageError: the file cannot be written.
    """
    dataset = open_dataset(path)
    low = dataset.read_low(episode)
    pictures = {name: dataset.frames(episode, name) for name in dataset.cameras}
    clouds = {name: dataset.points(episode, name) for name in dataset.clouds}
    streams = dict(low.streams)
    streams |= {name: dataset.camera(episode, name) for name in dataset.cameras}
    for name in dataset.clouds:
        streams[name] = _cloud(dataset, episode, name)
    mind = _Mind(model, dataset, episode, progress) if model else None
    with rerun_file(file, f"{path.resolve().name} {episode}") as out:
        scene = _Scene(out, {name: stream.kind for name, stream in streams.items()}, streams)
        out.say("about", f"{low.source}, licence {low.license or 'unknown'}")
        for step, time_ns in enumerate(low.time_ns):
            out.at(step, float(time_ns) / 1e9)
            seen = {name: stream.values[step] for name, stream in low.streams.items()}
            seen |= {name: next(each) for name, each in (pictures | clouds).items()}
            scene.show(seen)
            if low.actions is not None and step < len(low.actions):
                out.numbers("action", low.actions[step])
            if mind is not None:
                mind.show(out, step)
    said = f"episode {episode} of {path}" + (f", seen by {model}" if model else "")
    return RerunView(file, len(low), said)


def rerun_evaluation(path: Path, file: Path, episode: int = 0, module: str = "") -> RerunView:
    """Write one recorded episode of an evaluation, done again in its world.

    Args:
        path: folder of the evaluation.
        file: to be written.
        episode: number of it among the model's records.
        module: Python module that the world's name may import; empty for none.

    Raises:
        FormatError: a record or the manifest is damaged or missing.
        ConfigError: there is no such episode, or the world would import another module.
        WorldError: the world cannot be made, or crashed.
        MissingExtraError: Rerun is not installed.
        StorageError: the file cannot be written.
    """
    name, record = _record(path, episode)
    manifest = read_manifest(path / "manifest.json")
    check_module(manifest, module)
    world = WorldFactory(manifest.world, manifest.settings)()
    try:
        spec, own = world.spec, _episode_of(record, manifest)
        with rerun_file(file, f"{path.resolve().name} {name} {record.id}") as out:
            seen = world.reset(own.seed)
            goal = draw_goal(world, manifest.task, own)
            streams = {
                sensor: Stream(kind, np.empty(0), beams_rad=spec.beams_rad.get(sensor))
                for sensor, kind in spec.sensors.items()
            }
            scene = _Scene(out, spec.sensors, streams)
            scene.goal(goal.observation)
            out.say("about", f"{name}, {record.id} of {manifest.world}: {record.outcome}")
            decisions = {decision.step: decision for decision in record.decisions}
            fresh, actions = fresh_state(spec.bounds, 1, 1), actions_of(record)
            for step, distance in enumerate(record.distances):
                out.at(step, step * spec.step_s)
                scene.show(_on_disk(seen, spec.sensors), seen.streams.get("intrinsics"))
                out.numbers("distance", [distance, record.success_distance])
                if step in decisions:
                    _show_plan(out, decisions[step], fresh)
                if step < len(actions):
                    out.numbers("action", actions[step])
                    seen = world.step(check_action(actions[step], spec.bounds))
    finally:
        world.close()
    return RerunView(file, len(record.distances), f"{record.id} of {name}, {record.outcome}")


def check_module(manifest: Manifest, module: str = "") -> None:
    """Refuse a manifest whose world imports a Python module that nobody allowed.

    The manifest may be a stranger's, and to import a module is to run it.

    Args:
        manifest: names the world, e.g. ``gym:module:Env-v0``.
        module: that is allowed; empty for none.

    Raises:
        ConfigError: it would import another one.
    """
    for name in (manifest.world, manifest.settings.get("base", "")):
        wanted, colon, _ = str(name).removeprefix(GYM_PREFIX).rpartition(":")
        if str(name).startswith(GYM_PREFIX) and colon and wanted != module:
            raise ConfigError(
                f"The manifest's world {str(name)[:80]} imports the module {wanted[:80]!r}, which "
                f"runs its code. If you trust it, add: --module {wanted[:80]}"
            )


class _Scene:
    """Logs the streams of a step, cameras where they stand."""

    def __init__(
        self, out: RerunFile, kinds: Mapping[str, StreamKind], streams: Mapping[str, Stream]
    ) -> None:
        self._out, self._kinds, self._streams = out, kinds, streams
        self._lenses: set[str] = set()

    def goal(self, seen: Observation) -> None:
        """Log the goal's pictures, which stay."""
        for name, values in _on_disk(seen, self._kinds).items():
            if self._kinds[name] == "rgb":
                self._out.colour(f"goal/{name}", values, stays=True)
            elif self._kinds[name] == "depth":
                self._out.depth(f"goal/{name}", values, stays=True)

    def show(self, seen: Mapping[str, np.ndarray], intrinsics: np.ndarray | None = None) -> None:
        """Log one step.

        Args:
            seen: what was sensed; depth in millimetres, clouds without padding.
            intrinsics: of the cameras; None for those of the streams.
        """
        for name, values in seen.items():
            kind = self._kinds.get(name)
            if kind in CAMERAS:
                self._picture(name, values, intrinsics)
            elif kind == "points":
                self._points(name, values)
            elif kind == "lidar":
                self._sweep(name, values)
            elif kind in ("proprio", "truth"):
                self._out.numbers(f"{kind}/{name}", values)
            elif kind == "pose":
                self._out.pose(f"world/{_carried(name)}", values)

    def _picture(self, name: str, values: np.ndarray, intrinsics: np.ndarray | None) -> None:
        entity = f"{self._placed(name)}/{name}"
        lens = self._streams[name].intrinsics if intrinsics is None else intrinsics
        if lens is not None and entity not in self._lenses:
            self._lenses.add(entity)  # of each picture: colour and depth may differ in size
            self._out.lens(entity, lens, values.shape[:2])
        if self._kinds[name] == "rgb":
            self._out.colour(entity, values)
        elif self._kinds[name] == "depth":
            self._out.depth(entity, values)
        else:
            self._out.classes(entity, values)

    def _points(self, name: str, values: np.ndarray) -> None:
        columns = self._streams[name].columns
        coloured = {"r", "g", "b"} <= {*columns}
        colours = values[:, [columns.index(c) for c in "rgb"]] if coloured else None
        self._out.points(f"{self._placed(name)}/{name}", values[:, :3], colours)

    def _sweep(self, name: str, ranges_m: np.ndarray) -> None:
        beams = self._streams[name].beams_rad
        if beams is None:
            self._out.numbers(f"lidar/{name}", ranges_m)
            return
        azimuth, elevation = beams.T
        flat = np.cos(elevation)
        along = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], 1)
        self._out.points(f"{self._placed(name)}/{name}", ranges_m[:, None] * along)

    def _placed(self, name: str) -> str:
        """Return the entity that a stream lies in: below ``world`` where its pose is known."""
        for pose in _poses_of(name, self._kinds[name]):
            if self._kinds.get(pose) == "pose":
                return f"world/{_carried(pose)}"
        in_world = self._streams[name].frame == "world"
        return "world" if in_world else _carried(_poses_of(name, self._kinds[name])[-1])


def _poses_of(name: str, kind: StreamKind) -> tuple[str, ...]:
    """Return what the pose of a stream may be called, the nearest first."""
    own = f"world_from_{name}"
    base, line, number = name.partition("_")
    if base == kind and kind in CAMERAS and (not number or number.isdecimal()):
        return own, f"world_from_camera{line}{number}"
    return (own,)


def _carried(pose: str) -> str:
    return pose.removeprefix("world_from_")


def _cloud(dataset: Dataset, episode: int, name: str) -> Stream:
    spec = dataset.sidecar(episode)["streams"][name]
    return Stream(
        "points", np.empty(0), spec["unit"], spec["frame"], columns=tuple(spec["columns"])
    )


def _on_disk(seen: Observation, kinds: Mapping[str, StreamKind]) -> dict[str, np.ndarray]:
    """Return what a world gave as a dataset holds it: depth in millimetres."""
    return {
        name: to_millimetres(values) if kinds[name] == "depth" else values
        for name, values in seen.streams.items()
        if name in kinds
    }


def _record(path: Path, episode: int) -> tuple[str, Record]:
    files = sorted((path / "records").glob("*.jsonl"))
    chosen = next((file for file in files if file.stem not in BESIDE), files[0])
    records = read_records(chosen, cut_off=True)
    if not 0 <= episode < len(records):
        raise ConfigError(
            f"{chosen}: has {len(records)} episodes; there is no episode {episode} in it."
        )
    return chosen.stem, records[episode]


def _episode_of(record: Record, manifest: Manifest) -> EpisodeSpec:
    found = [one for one in manifest.episodes if one.id == record.id]
    if record.manifest != manifest.sha256 or not found:
        raise FormatError(f"The record {record.id} belongs to another manifest.")
    return found[0]


def _show_plan(out: RerunFile, decision: Decision, fresh: PlannerState) -> None:
    """Log one decision, and what the search began with: the last plan, moved up to now."""
    out.numbers("model_steps", [decision.model_steps])
    if decision.cost is not None:
        out.numbers("plan/cost", [decision.cost])
    if decision.carry:
        before = unpack(decision.carry, fresh).mean[0].numpy()
        out.table("plan/before", before, ("step", "action"))


class _Mind:
    """What a model makes of an episode: surprise, and pictures of what it predicts.

    It sees every ``_AHEAD`` model steps, and in between gets the actions alone.
    """

    def __init__(
        self, model: str | Path, dataset: Dataset, episode: int, progress: Progress
    ) -> None:
        network = load_model(find_model(model))
        cache = prepared(dataset, network.config, progress)
        # the steps that surprise_clip takes
        self._stride = stride_of(network, step_of(model, network), cache, str(dataset.path))
        found = surprise_clip(model, f"{dataset.path}:{episode}", progress=progress)
        self._surprise = list(zip(found.surprise, found.copy_last, strict=True))
        self._pictures = {}
        if "rgb" in cache.arrays:
            self._pictures = _predicted_pictures(network, cache, episode, self._stride, progress)

    def show(self, out: RerunFile, step: int) -> None:
        """Log what belongs to a world step, if it is a model step."""
        at, rest = divmod(step, self._stride)
        if rest:
            return
        if at in self._pictures:
            out.colour("predicted/rgb", self._pictures[at])
        if 0 < at <= len(self._surprise):
            own, copy = self._surprise[at - 1]
            out.numbers("surprise/model", [own])
            out.numbers("surprise/copy_last", [copy])


@torch.no_grad()
def _predicted_pictures(
    model: JEPA, cache: Cache, position: int, stride: int, progress: Progress
) -> dict[int, np.ndarray]:
    """Return the pictures of the model steps that are predicted, rgb uint8 [H W 3] each."""
    clip = whole_episode(model, cache, position, stride)
    tokens = model.encode(clip).tokens
    others = np.delete(np.arange(cache.num_episodes), position)
    frames = Windows(cache, others if len(others) else np.array([position]), 1)
    with torch.enable_grad():
        decoder = fit_decoder(model, frames, _DECODER_STEPS, _DECODER_FRAMES, progress=progress)
    steps = tokens.shape[1]
    none = tokens.new_zeros(1, steps - 1, model.config.action_width)
    actions = none if clip.actions is None else clip.actions
    found = {}
    for start in range(0, steps - 1, _AHEAD):
        plan = actions[:, None, start : start + _AHEAD]
        predicted = model.rollout(Latent(tokens[:, start : start + 1]), plan)[0, 0].flatten(1)
        pictures = decoder.pictures(predicted).numpy()
        found |= {start + 1 + ahead: picture for ahead, picture in enumerate(pictures)}
    return found

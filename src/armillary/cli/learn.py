"""Learn: record a world, ingest other recordings, train a goal-conditioned policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, existing, settings_of
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Record(Command):
    """Record episodes of a simulated world into a dataset.

    e.g. armillary record tabletop --episodes 100 --out out/tabletop
    """

    world: Positional[str]
    """World: tabletop, two_rooms, stage or yard.
    gym:module:Env-v0 for any Gymnasium environment that renders."""
    out: Path
    """Dataset folder to write."""
    episodes: int = 100
    """Number of episodes."""
    steps: int = 100
    """Steps per episode."""
    policy: str = "explore"
    """Policy that acts: explore, smooth, random or expert.
    explore is the world's own exploration."""
    sensors: str = ""
    """Streams to record, e.g. rgb,depth,pose. Default: those of the world."""
    image_size: int = 64
    """Height and width of the images, in pixels."""
    workers: int = 2
    """Number of processes. The data does not depend on it."""
    on: str = ""
    """ray: use actors of Ray in place of processes.
    ray://HOST:PORT: those of a cluster that shares the disk of --out."""
    seed: int = 0
    """Seed of the episodes."""
    setting: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the world, e.g. --setting split=held_out."""
    resume: bool = False
    """Continue an interrupted recording in --out."""

    def run(self) -> Outcome:
        """Record."""
        from armillary.worlds import record

        names = tuple(name for name in self.sensors.split(",") if name)
        with bar("recording") as progress:
            found = record(
                self.world,
                self.out,
                episodes=self.episodes,
                steps=self.steps,
                policy=self.policy,
                sensors=names or None,
                workers=self.workers,
                seed=self.seed,
                settings={"image_size": self.image_size} | settings_of(self.setting, "--setting"),
                resume=self.resume,
                progress=progress,
                on=self.on,
            )
        said = f"{found.episodes} episodes in {found.out}; {found.frames} frames"
        return Outcome(vars(found), (f"{said} in {found.seconds:.1f} s",))


@dataclass(frozen=True, kw_only=True)
class Ingest(Command):
    """Turn videos, depth, clouds, poses, robot logs or demonstrations into a dataset.

    What could not be read is skipped and listed with the reason.

    e.g. armillary ingest ~/videos --out out/mine
    """

    source: Positional[Path]
    """File, folder of files, or folder in one of the formats."""
    out: Path
    """Dataset folder to write."""
    format: str = "auto"
    """auto, video, lerobot, rlds, hdf5, zarr, tum, icl_nuim, rgbd, nerfstudio,
    colmap, euroc, ros, rawlog, kitti, kitti_raw, argoverse, nuscenes, las,
    e57, pcd, ply, ascii or pictures."""
    fps: float | None = None
    """Steps per second.
    Default: those of the source (of most videos, at most 30).
    Pictures and point clouds without times need it."""
    max_side: int | None = None
    """Largest side of the images, in pixels.
    Default: 256 for videos, their own size for all else."""
    size: str = ""
    """Image size of a video dataset, WIDTHxHEIGHT.
    Default: the shape of most videos."""
    fit: Literal["letterbox", "crop"] = "letterbox"
    """How a video of another shape is fitted.
    letterbox adds black bars. crop cuts two edges off."""
    license: str = ""
    """Licence of the recordings, stored with every episode."""
    replace: bool = False
    """Replace an existing dataset at --out."""
    unit: str | None = None
    """Unit of point clouds: m, mm, ft or us-ft.
    Default: the unit that the file names, or metres."""
    tolerance_s: float = 0.02
    """Largest time difference within one step, in seconds."""
    depth_scale: float | None = None
    """Metres per unit of stored depth, or per unit of length for COLMAP.
    Default: that of the format."""
    intrinsics: tuple[float, float, float, float] | None = None
    """fx fy cx cy in pixels, in place of those of the source."""
    topics: tuple[str, ...] = ()
    """Topics of a robot log to take where several fit."""
    action_topic: str = ""
    """Topic of a robot log whose commands are the actions."""
    ego_motion: Annotated[bool, arg(help_behavior_hint="")] = True
    """Make no actions of the sensor's own motion.
    Default: they are made where it moves and no commands are read."""
    pictures: Literal["kept", "encoded"] = "kept"
    """kept: PNG and JPEG files are stored byte for byte where possible.
    encoded: colour becomes H.264 and depth FFV1, which is smaller but slower."""

    def run(self) -> Outcome:
        """Ingest; what could not be read is named, files are counted."""
        existing(self.source, "a file or folder to ingest")
        from armillary.data import IngestOptions, ingest

        names = (field.name for field in fields(IngestOptions))
        options = IngestOptions(**{name: getattr(self, name) for name in names})
        with bar("ingesting") as progress:
            summary = ingest(self.source, self.out, self.format, progress, options)
        found = {"skipped": summary.skipped, "left_out": summary.left_out, "files": summary.files}
        named = {
            name: [{"path": str(path), "reason": why.removeprefix(f"{path}: ")} for path, why in of]
            for name, of in found.items()
        }
        lines = _few([f"{path}: {what}" for path, what in summary.files])
        lines += _few([f"skipped {one['path']}: {one['reason']}" for one in named["skipped"]])
        lines += [f"left out of {one['path']}: {one['reason']}" for one in named["left_out"]]
        said = f"{summary.written} episodes, {summary.frames} frames written to {summary.out}"
        lines.append(f"{said}; {len(named['skipped'])} files skipped")
        lines += summary.notes
        if summary.files:
            from armillary.recipes.video_advice import video_advice

            lines += video_advice(summary.out)
        return Outcome(vars(summary) | named, tuple(lines))


def _few(lines: list[str], most: int = 40) -> list[str]:
    """Return the first lines, and how many more there are (all of them are in --json)."""
    more = [f"... and {len(lines) - most} more, all listed with --json"]
    return lines if len(lines) <= most else lines[:most] + more


@dataclass(frozen=True, kw_only=True)
class Policy(Command):
    """Train a goal policy for a model that has none, or on another recording.

    `armillary train` does so at its end where actions are recorded. The policy says which action
    leads to a goal, and is stored in the model folder. armillary act uses it.

    e.g. armillary policy out/run out/data
    """

    model: Positional[str]
    """Model folder, or run folder."""
    dataset: Positional[Path]
    """Dataset folder with actions."""
    steps: int | None = None
    """Training steps. Default: 1,000, or fewer for a short recording."""
    seed: int = 0
    """Seed of the weights and samples."""

    def run(self) -> Outcome:
        """Train the policy."""
        existing(self.dataset, "a dataset folder")
        from armillary.recipes.adding_policy import learn_goal_policy

        with bar("learning to act") as progress:
            found = learn_goal_policy(
                self.model, self.dataset, self.steps, self.seed, progress=progress
            )
        value = vars(found) | {"file": str(found.file)}
        return Outcome(value, policy_said(value))


@dataclass(frozen=True, kw_only=True)
class Landmarks(Command):
    """Find landmarks in a recording, so that a model acts towards far goals by sub-goals.

    A goal policy is trained on goals that one episode reached. For a goal that is farther, the
    model goes from landmark to landmark, by ways that episodes took. It needs one scene: a room or
    a maze that is the same in all episodes. Held-out episodes tell whether it is.

    Landmarks are stored in the model folder, and armillary act uses them from then on. To act
    without them, use armillary act --no-sub-goals, or remove the file.

    e.g. armillary landmarks out/run out/data
    """

    model: Positional[str]
    """Model folder, or run folder."""
    dataset: Positional[Path]
    """Dataset folder with actions."""
    seed: int = 0
    """Seed of what is drawn."""

    def run(self) -> Outcome:
        """Find them."""
        existing(self.dataset, "a dataset folder")
        from armillary.models.landmarks import SHARE_OF_FAR
        from armillary.recipes.landmarks import learn_landmarks

        with bar("finding landmarks") as progress:
            found = learn_landmarks(self.model, self.dataset, self.seed, progress=progress)
        value = vars(found) | {"file": str(found.file)}
        lines = (
            f"{found.landmarks:,} landmarks and {found.ways:,} ways between them in "
            f"{found.seconds:.0f} s: {found.file}",
            f"Held-out episodes took ways that are known in {found.known:.0%} of cases. Goals that "
            f"are farther than {found.far * SHARE_OF_FAR:.1f} model steps get sub-goals.",
        )
        return Outcome(value, (*lines, *found.warnings))


def policy_said(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the report on a goal policy, a sentence or two."""
    said = f"goal policy trained in {found['seconds']:.0f} s: {found['file']}"
    if found["r2"] is None:
        return (said, "No episode is held out, so nothing tells how good it is.")
    return (
        said,
        f"One model step from a goal, its actions are those of held-out episodes with R2 "
        f"{found['r2']:.2f} (1 is perfect).",
    )

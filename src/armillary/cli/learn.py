"""Learn: record a world, or take in what was recorded elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from tyro.conf import Positional, UseAppendAction

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, settings_of
from armillary.cli.progress import bar


@dataclass(frozen=True, kw_only=True)
class Record(Command):
    """Record episodes of a simulated world into a dataset.

    e.g. armillary record tabletop --episodes 100 --out out/tabletop
    """

    world: Positional[str]
    """Name of the world (tabletop, two_rooms), or gym:module:Env-v0 for any that renders."""
    out: Path
    """Dataset folder to write."""
    episodes: int = 100
    """How many episodes."""
    steps: int = 100
    """Steps per episode."""
    policy: str = "explore"
    """Who acts: explore (the world's own way), smooth, random or expert."""
    sensors: str = ""
    """Streams to keep, separated by commas, e.g. rgb,depth,pose; empty takes the world's own."""
    image_size: int = 64
    """Height and width of the pictures, in pixels."""
    workers: int = 2
    """Processes; the bytes written do not depend on it."""
    seed: int = 0
    """Seed of the episodes."""
    setting: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the world, e.g. --setting split=held_out; may be given several times."""
    resume: bool = False
    """Go on with a recording that was interrupted here."""

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
            )
        said = f"{found.episodes} episodes in {found.out}; {found.frames} frames"
        return Outcome(vars(found), (f"{said} in {found.seconds:.1f} s",))


@dataclass(frozen=True, kw_only=True)
class Ingest(Command):
    """Turn videos, depth, point clouds, poses, robots' logs or LeRobot v3 into a dataset.

    e.g. armillary ingest ~/videos --out out/mine
    """

    source: Positional[Path]
    """A file, a folder of files, or a folder that a format lays out (docs/datasets.md)."""
    out: Path
    """Dataset folder to write."""
    format: str = "auto"
    """auto, video, lerobot, tum, rgbd, nerfstudio, colmap, ros, rawlog, kitti, nuscenes, las,
    pcd, ply."""
    fps: float | None = None
    """Steps per second. Default: those of the source (of most videos, at most 30), or 10."""
    max_side: int | None = None
    """Longer side of the pictures at most, in pixels. Default: 256 for videos, else their own."""
    size: str = ""
    """Size of a video dataset's pictures, WIDTHxHEIGHT. Default: the shape of most videos."""
    fit: Literal["letterbox", "crop"] = "letterbox"
    """How a video of another shape is fitted: with black bars, or with two edges cut off."""
    license: str = ""
    """Licence of the recordings; kept with every episode."""
    replace: bool = False
    """Replace the dataset that is at --out."""
    unit: str | None = None
    """Unit of point clouds: m, mm, ft or us-ft; else what the file says, or metres."""
    tolerance_s: float = 0.02
    """How far apart in time what belongs to one step may be, in seconds."""
    depth_scale: float | None = None
    """Metres of one unit of the stored depth (of COLMAP's unit of length); else the format's."""
    intrinsics: tuple[float, float, float, float] | None = None
    """fx fy cx cy in pixels, where the source has none."""
    topics: tuple[str, ...] = ()
    """Topics of a robot's log to take where several would do."""
    action_topic: str = ""
    """Topic of a robot's log whose commands are the actions."""
    pictures: Literal["kept", "encoded"] = "kept"
    """kept: PNG and JPEG stay as they came, byte for byte, unless a lens or --max-side changes
    them; encoded: colour as H.264, much smaller, and depth as FFV1, several times slower."""

    def run(self) -> Outcome:
        """Ingest; what could not be read is named, files are counted."""
        from armillary.data import IngestOptions, ingest

        names = (field.name for field in fields(IngestOptions))
        options = IngestOptions(**{name: getattr(self, name) for name in names})
        with bar("ingesting") as progress:
            summary = ingest(self.source, self.out, self.format, progress, options)
        found = {"skipped": summary.skipped, "left_out": summary.left_out, "files": summary.files}
        told = {
            name: [{"path": str(path), "reason": why.removeprefix(f"{path}: ")} for path, why in of]
            for name, of in found.items()
        }
        lines = _few([f"{path}: {what}" for path, what in summary.files])
        lines += _few([f"skipped {one['path']}: {one['reason']}" for one in told["skipped"]])
        lines += [f"left out of {one['path']}: {one['reason']}" for one in told["left_out"]]
        said = f"{summary.written} episodes, {summary.frames} frames written to {summary.out}"
        lines.append(f"{said}; {len(told['skipped'])} files skipped")
        lines += summary.notes
        if summary.files:
            from armillary.recipes.video import video_advice

            lines += video_advice(summary.out)
        return Outcome(vars(summary) | told, tuple(lines))


def _few(lines: list[str], most: int = 40) -> list[str]:
    """Return the first lines, and how many more there are (all of them are in --json)."""
    more = [f"... and {len(lines) - most} more, all listed with --json"]
    return lines if len(lines) <= most else lines[:most] + more


@dataclass(frozen=True, kw_only=True)
class Prior(Command):
    """Teach a model which way goals lie: a policy and a goal distance, from its own latents.

    Takes about two minutes. They are left in the model's folder; armillary act --prior uses them.

    e.g. armillary prior out/run out/two_rooms
    """

    model: Positional[str]
    """Model folder, or run folder."""
    dataset: Positional[Path]
    """Dataset with actions, as a rule the one that the model was trained on."""
    steps: int = 3000
    """Optimizer steps."""
    within: int = 0
    """Most model steps to the goals that it learns from; 0 for any later one, and others."""
    imitate: bool = False
    """Learn to act without a search: repeat what was recorded, with a larger policy (as bench push
    does)."""
    seed: int = 0
    """Seed of weights, samples and split."""

    def run(self) -> Outcome:
        """Train the prior."""
        from armillary.recipes.prior import add_prior
        from armillary.training.prior import PriorConfig, imitation
        from armillary.training.trails import GoalShares

        config = PriorConfig(goals=GoalShares(within=self.within))
        if self.imitate:
            config = imitation(self.within)
        config = replace(config, steps=self.steps, seed=self.seed)
        with bar("training") as progress:
            found = add_prior(self.model, self.dataset, config, progress)
        said = f"a goal prior in {found.seconds:.0f} s: {found.file}"
        told = _judged(found.order, found.action_nats)
        return Outcome(vars(found), (*found.warnings, *told, said))


def _judged(order: float | None, nats: float | None) -> tuple[str, ...]:
    if order is None or nats is None:
        return ("no episode was held out, so nothing is said of how good it is",)
    return (
        f"held out: rank correlation of its distance with recorded steps {order:.2f}; it foretells "
        f"actions towards a goal {nats:.2f} nats better than their mean and spread do",
    )

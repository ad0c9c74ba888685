"""Bench: measure speed and success beside other projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, UseAppendAction, subcommand

from armillary.cli.again import again
from armillary.cli.lidar import Lidar
from armillary.cli.outcome import Outcome, facts
from armillary.cli.parse import Command, existing, settings_of
from armillary.cli.planning import SearchFlags
from armillary.cli.progress import bar
from armillary.cli.spatial import Sensors, Spatial
from armillary.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Loader(Command):
    """Measure data loading in random training clips per second, beside other readers.

    e.g. armillary bench loader --json
    """

    out: Path = Path("out/bench")
    """Folder of the measurement. A recording in it is used again."""
    data: Path | None = None
    """Dataset to measure with. Default: a new tabletop recording."""
    alone: bool = False
    """Leave out the baselines. Otherwise they are installed into their own environment."""

    def run(self) -> Outcome:
        """Measure loading."""
        from armillary.benchmark import bench_loader

        with bar("measuring") as progress:
            value = bench_loader(
                self.out,
                self.data,
                peers=not self.alone,
                progress=progress,
                command=again(self, "bench", "loader"),
            )
        return Outcome(value, facts(value))


@dataclass(frozen=True, kw_only=True)
class Training(Command):
    """Measure training in frames per second, beside LeWM's training step.

    e.g. armillary bench train --json
    """

    out: Path = Path("out/bench")
    """Folder of the measurement. A recording in it is used again."""
    data: Path | None = None
    """Dataset to measure with. Default: a new tabletop recording."""
    alone: bool = False
    """Leave out the baselines. Otherwise they are installed into their own environment."""
    recipe: str = "world"
    """Recipe to measure."""
    knowledge: bool = False
    """Also measure the minutes until object R2 is 0.9 and skill 0.4. Takes about 20 minutes."""

    def run(self) -> Outcome:
        """Measure training."""
        from armillary.benchmark import bench_train
        from armillary.cli.train import adapted_recipe, find_recipe

        recipe = adapted_recipe(self.recipe, self.data)
        with bar("measuring") as progress:
            value = bench_train(
                self.out,
                recipe.model,
                recipe,
                self.data,
                peers=not self.alone,
                progress=progress,
                command=again(self, "bench", "train"),
            )
        if not self.knowledge:
            return Outcome(value, facts(value))
        from armillary.experiments.minutes_to.run import minutes_to_knowledge

        known = minutes_to_knowledge(
            self.out / "knowledge", find_recipe(self.recipe), self.data, bars=bar
        )
        rows = [_length_row(row) for row in known["curve"]]
        return Outcome({**value, "minutes_to": known}, (*facts(value), *_minutes(known)), rows)


@dataclass(frozen=True, kw_only=True)
class Deciding(Command):
    """Measure planning in decisions per second, beside LeWM with its own planner.

    A decision goes from image to action. Takes about five minutes, nearly all of them for LeWM.

    e.g. armillary bench plan --json
    """

    alone: bool = False
    """Leave out LeWM. Otherwise it is installed into its own environment."""
    threads: int = 0
    """Threads for each side. 0 for all cores."""
    recipe: str = "world"
    """Recipe whose model plans."""

    def run(self) -> Outcome:
        """Measure planning."""
        from armillary.benchmark import PlanBench, bench_plan
        from armillary.cli.train import adapted_recipe
        from armillary.planning import Planning, make_planner
        from armillary.planning.planning import SEARCH

        with bar("measuring") as progress:
            value = bench_plan(
                adapted_recipe(self.recipe, None).model,
                make_planner(SEARCH),
                Planning().replan,
                PlanBench(threads=self.threads),
                peers=not self.alone,
                progress=progress,
                command=again(self, "bench", "plan"),
            )
        return Outcome(value, facts(value))


@dataclass(frozen=True, kw_only=True)
class Latency(SearchFlags):
    """Compare planning budgets: success rate against milliseconds per decision.

    All settings act in the same episodes. Writes a manifest, records, rows and a page.

    e.g. armillary bench latency out/run/model tabletop --samples 16 64 --replan 1 4
    """

    model: Positional[str]
    """Model folder, run folder, zoo:NAME, or Hub id."""
    world: Positional[str]
    """Name of the world."""
    out: Path = Path("out/latency")
    """Folder for manifest.json, records, latency.json and latency.html."""
    planner: str = "icem"
    """Planner: guided, cem, icem, mppi or gradient."""
    samples: tuple[int, ...] = (16, 32, 64, 128)
    """Candidate plans per iteration, to compare. The number of elites scales with it."""
    replan: tuple[int, ...] = (1, 4)
    """Model steps to execute per decision, to compare. guided decides at every world step."""
    others: tuple[str, ...] = ()
    """More models for the same episodes, e.g. trained with another frame_skip."""
    episodes: int = 100
    """Number of held-out episodes."""
    task: str = ""
    """Goal task of the world. Default: its first task."""
    setting: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the world, e.g. --setting split=train."""
    workers: int = 1
    """Number of processes. More than there are idle cores distort the times."""
    seed: int = 0
    """Seed of the episodes."""

    def run(self) -> Outcome:
        """Evaluate every setting."""
        from armillary.experiments.latency.run import grid, latency_study
        from armillary.services.acting import ActConfig

        config = ActConfig(
            planning=self.planning(),
            episodes=self.episodes,
            task=self.task or None,
            seed=self.seed,
            workers=self.workers,
            world_settings=settings_of(self.setting, "--setting"),
        )
        settings = grid((self.model, *self.others), config, self.samples, self.replan)
        with bar("acting") as progress:
            value = latency_study(
                settings, self.world, self.out, config, progress, again(self, "bench", "latency")
            )
        page = f"{value['world']}, task {value['task']}: {self.out / 'latency.html'}"
        return Outcome(value, (page,), [_shown(*row) for row in value["settings"].items()])


@dataclass(frozen=True, kw_only=True)
class Worlds(Command):
    """Record, train and act in many environments, with one recipe and one way to plan.

    Each environment is recorded, the recipe world is trained on it, and goals are reached directly,
    with a search, and by a search alone, beside random, no-op and oracle. Takes 20 to 60 minutes
    for each environment. Finished parts in the folder are used again.

    e.g. armillary bench worlds tabletop_reach FetchReach-v4 --out out/worlds --json
    """

    names: Positional[tuple[str, ...]] = ("tabletop_reach", "tabletop_push")
    """Environments."""
    out: Path = Path("out/worlds")
    """Folder for recordings, runs, records and result.json."""
    episodes: int = 200
    """Goals of each task."""
    offset: UseAppendAction[tuple[str, ...]] = ()
    """World steps from start to goal: 25, 50 or 100 (Push-T). Default: all."""
    ways: tuple[str, ...] = ("direct", "direct_search", "search_only")
    """Ways to act; direct and direct_search are needed. Records stay, so that search_only can be
    added later."""
    steps: int | None = None
    """Training steps, at most. Default: the recipe's."""
    recorded: int | None = None
    """Episodes to record of each environment. Default: its own number."""
    seed: int = 0
    """Seed of recordings, weights and goals."""
    workers: int = 2
    """Number of processes. The result does not depend on it."""
    threads: int = 1
    """Threads of a training."""
    on: str = ""
    """ray: record and act with actors of Ray in place of processes. ray://HOST:PORT: those of a
    cluster that shares the disk of --out. Models are trained here."""
    record: Path | None = None
    """File for a copy of the result."""

    def run(self) -> Outcome:
        """Record, train and act."""
        from armillary.core.files import write_json
        from armillary.experiments.worlds.run import WorldsConfig, run_worlds

        config = WorldsConfig(
            self.names,
            self.episodes,
            self.steps,
            self.recorded,
            self.seed,
            self.workers,
            self.threads,
            self.offset,
            self.ways,
            self.on,
        )
        value = run_worlds(self.out, config, bar, again(self, "bench", "worlds"))
        if self.record is not None:
            write_json(self.record, value)
        rows = [
            _world_row(name, offset, row)
            for name, one in value["environments"].items()
            for offset, row in one["offsets"].items()
        ]
        return Outcome(value, (f"Goals reached at the end; records in {self.out}.",), rows)


def _world_row(name: str, offset: str, row: Mapping[str, Any]) -> dict[str, str]:
    ways = ("direct", "direct_search", "search_only", "random", "noop", "oracle")
    shown = [way for way in ways if way in row]
    paired = row["paired"]["search_over_direct"]
    return {
        "environment": name,
        "steps ahead": offset,
        **{one.replace("_", " "): f"{row[one]['success_final']:.0%}" for one in shown},
        "p": f"{paired['p_holm']:.2g}",
    }


@dataclass(frozen=True, kw_only=True)
class Ablation(Command):
    """Ablate the recipe world: train without each part, diagnose, and compare.

    Every part is left out on every dataset with every seed, and compared with the whole recipe.
    Takes 5 to 10 minutes for each training; --steps shortens it. Finished runs are used again.

    e.g. armillary bench ablation out/tabletop maze=out/maze/recording --json
    """

    datasets: Positional[tuple[str, ...]]
    """Dataset folders. NAME=FOLDER gives one a name. Default: the folder's own."""
    out: Path = Path("out/ablation")
    """Folder for runs and result.json."""
    parts: tuple[str, ...] = ()
    """Parts to leave out, one at a time. Default: all of them."""
    seeds: tuple[int, ...] = (0, 1)
    """Training seeds."""
    steps: int | None = None
    """Training steps. Fine-tuning is shortened by the same share. Default: the recipe's."""
    first_stage: bool = False
    """Leave the fine-tuning of the predictor out of every training."""
    workers: int = 2
    """Number of processes, with one thread each."""

    def run(self) -> Outcome:
        """Train and diagnose."""
        datasets = _named(self.datasets)
        from armillary.experiments.ablation.run import AblationConfig, run_ablation
        from armillary.recipes import world
        from armillary.recipes.recipe_config import shortened

        usual = AblationConfig(datasets)
        recipe = world() if self.steps is None else shortened(world(), self.steps)
        if self.first_stage:
            recipe = replace(recipe, settling=replace(recipe.settling, steps=0))
        config = AblationConfig(
            datasets, recipe, self.parts or usual.parts, self.seeds, self.workers
        )
        value = run_ablation(self.out, config, bar, again(self, "bench", "ablation"))
        rows = [
            _part_row(data, part["said"], one["mean"])
            for data in datasets
            for part in value["parts"].values()
            for one in [part["datasets"][data]]
        ]
        return Outcome(value, (f"Means over the seeds; all rows in {self.out}.",), rows)


def _named(words: Sequence[str]) -> dict[str, Path]:
    """Return dataset folders by name."""
    datasets: dict[str, Path] = {}
    for word in words:
        name, _, folder = word.rpartition("=")
        path = Path(folder)
        existing(path, "a dataset folder")
        name = name or path.resolve().name
        if name in datasets or Path(name).name != name:
            raise ConfigError(
                f"Each dataset needs a name of its own that can name a folder; got {name!r} "
                "again or with a slash. Name them with NAME=FOLDER."
            )
        datasets[name] = path
    return datasets


def _part_row(data: str, said: str, mean: Mapping[str, float]) -> dict[str, str]:
    shown = ("r2_", "moved_skill_4", "latent_4", "action_top1")
    chosen = {name: value for name, value in mean.items() if name.startswith(shown)}
    return {"dataset": data, "left out": said} | {k: f"{v:.3f}" for k, v in chosen.items()}


def _minutes(known: Mapping[str, Any]) -> tuple[str, ...]:
    found = {name: known[name] for name in known if name not in ("reasons", "curve")}
    return tuple(
        f"minutes to {name}: {known['reasons'][name] if minutes is None else f'{minutes:.1f}'}"
        for name, minutes in found.items()
    )


def _length_row(row: Mapping[str, Any]) -> dict[str, str]:
    numbers = {"R2 of the object": row["object_r2"], "skill": row["skill"]}
    said = {name: "" if value is None else f"{value:.2f}" for name, value in numbers.items()}
    return {"steps": f"{row['steps']:,}", "minutes": f"{row['minutes']:.1f}", **said}


def _shown(name: str, row: Mapping[str, Any]) -> dict[str, str]:
    low, high = row["wilson95"]
    ms = row["ms_per_decision"]
    return {
        "setting": name,
        "n": str(row["n"]),
        "success": f"{100 * row['success']:.0f} %",
        "95 % interval": f"{100 * low:.0f} to {100 * high:.0f} %",
        "ms/decision": "" if ms is None else f"{ms:.1f}",
        "ms/step": f"{row['ms_per_world_step']:.1f}",
        "model steps": f"{row['model_steps_per_decision']:,.0f}",
    }


Bench = (
    Annotated[Loader, subcommand("loader")]
    | Annotated[Training, subcommand("train")]
    | Annotated[Deciding, subcommand("plan")]
    | Annotated[Latency, subcommand("latency")]
    | Annotated[Lidar, subcommand("lidar")]
    | Annotated[Worlds, subcommand("worlds")]
    | Annotated[Ablation, subcommand("ablation")]
    | Annotated[Spatial, subcommand("spatial")]
    | Annotated[Sensors, subcommand("sensors")]
)

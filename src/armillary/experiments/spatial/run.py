"""Spatial variants: what do depth, points and poses buy? Six ways to see, equal in all else.

All variants learn from one recording of the tabletop and reach goal pictures on the same episodes:
as in training, from cameras turned round the table, and with another appearance. Then one model of
all sensors is asked to do with some of them.

    recording, judged/SHIFT           one for all
    manifests/SHIFT.json              the same episodes in every shift
    SEED/VARIANT/run                  one run for each variant (and ``fused``)
    SEED/VARIANT/records/SHIFT.jsonl  reaching
    SEED/VARIANT/probes.json          where the object is
    spatial.json                      all that comes of it

A folder that holds part of this is continued.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from armillary.benchmark.machine import provenance
from armillary.core.claiming import claim
from armillary.core.errors import ConfigError, unknown_name
from armillary.core.files import storage_errors, write_json
from armillary.core.processes import map_in_processes
from armillary.core.progress import Bars, no_bars
from armillary.data import Cache, open_dataset, prepare, split_episodes
from armillary.evaluation import Manifest, ModelSpec, evaluate, make_manifest
from armillary.evaluation.specs import has_goal_policy
from armillary.experiments.spatial.probes import PROBED_STEPS, hidden_position, position_errors_cm
from armillary.experiments.spatial.rows import result_of
from armillary.experiments.spatial.variants import SUBSETS, VARIANTS, fused_recipe, variant_recipe
from armillary.models import JEPAConfig, load_model, narrowed, save_model
from armillary.models.config import config_values
from armillary.planning import Planning
from armillary.planning.planning import DIRECT
from armillary.recipes.goal_policy import add_goal_policy, policy_appearances
from armillary.recipes.recipe import Recipe, train_recipe
from armillary.recipes.world import adapted, world
from armillary.training.colour_changes import ColourChanges
from armillary.training.loop import threads
from armillary.training.world_changes import WorldChanges
from armillary.understanding.suites.size_distance import size_distance
from armillary.worlds import record

FUSED = "fused"
USUAL = "in_distribution"
HIDDEN = "hidden"
# By kind of picture in the size-distance test, the variant whose latents stand for it.
SIZE_VARIANTS = {"rgb": "rgb", "rgbd": "point_map_camera"}


def _base() -> Recipe:
    """Return what trains every variant: the recipe ``world``, with the study's own additions.

    The additions are about new appearances, which the recording does not show:

        augment.colour      colours and light of each clip are changed
        augment.world       depth has noise, and holes that lie elsewhere in every picture
        finetune.varied     the predictor and the goal policy learn from clips changed alike

    Targets are made of the clip before these changes (``training/clean.py``).
    """
    usual = world()
    colour = ColourChanges(
        brightness=0.4, contrast=0.4, saturation=0.4, colour_turns=0.15, tint=0.35, shade=0.5
    )
    worse = WorldChanges(depth_noise=0.01, depth_holes=0.3, flicker=True)
    return replace(
        usual,
        augment=replace(usual.augment, colour=colour, world=worse),
        settling=replace(usual.settling, varied=True),
    )


def _shifts() -> dict[str, dict[str, Any]]:
    views = {f"view_{turn}": {"azimuth_deg": (float(turn), float(turn))} for turn in (30, 60, 90)}
    appearances = {"appearance": "new", "depth_noise": 0.01, "depth_holes": 0.3}
    return {USUAL: {}, **views, "appearance": appearances}


@dataclass(frozen=True)
class VariantsConfig:
    """How much of everything.

    Attributes:
        base: training of every variant, and the size of its model. What it leaves to the data
            follows from the recording; each variant has its own sensors.
        variants: keys of ``VARIANTS``.
        seeds: of training.
        fused_seeds: of training of the model for all sensors; empty for none.
        fused_longer: how many times as many steps it learns: it has many ways to see to learn.
        dropout: probability that it misses a sensor in a clip. At 0.65, in four times the steps,
            each sensor that sees comes alone about as often as a variant of its own learns from it
            (in 0.24 of the clips, with or without the pose; at 0.5 in 0.17, at 0.3 in 0.07).
        subsets: keys of ``SUBSETS`` that it is asked to do with.
        world: settings of the world in all recordings and episodes. One object: which of several
            is meant cannot be known without colour.
        shifts: further settings, by name; ``in_distribution`` has those of training.
        hidden: further settings where the object's place is asked for after ten steps unseen: the
            camera goes round the table, as it never did in training.
        episodes: recorded for training.
        steps: of each.
        judged: recorded of each shift, for the probes.
        probed: training episodes that the probes are fitted on.
        goals: episodes of reaching in each shift. Every model acts by its goal policy, without a
            search.
        size_pairs: that the read-out of size and distance is fitted on, and judged on.
        seed: names recordings and manifests.
        workers: processes, each with one thread; results do not depend on it.
    """

    base: Recipe = field(default_factory=_base)
    variants: tuple[str, ...] = tuple(VARIANTS)
    seeds: tuple[int, ...] = (0, 1, 2)
    fused_seeds: tuple[int, ...] = (0,)
    fused_longer: int = 4
    dropout: float = 0.65
    subsets: tuple[str, ...] = tuple(SUBSETS)
    world: Mapping[str, Any] = field(default_factory=lambda: {"num_objects": (1, 1)})
    shifts: Mapping[str, Mapping[str, Any]] = field(default_factory=_shifts)
    hidden: Mapping[str, Any] = field(default_factory=lambda: {"orbit_deg_s": (-25.0, 25.0)})
    episodes: int = 2000
    steps: int = 24
    judged: int = 100
    probed: int = 200
    goals: int = 100
    size_pairs: tuple[int, int] = (600, 400)
    seed: int = 0
    workers: int = 2

    def __post_init__(self) -> None:
        for name, known in ((self.variants, VARIANTS), (self.subsets, SUBSETS)):
            for one in name:
                if one not in known:
                    raise unknown_name(
                        "sensor variant" if known is VARIANTS else "subset", one, known
                    )
        if not (self.variants and self.seeds) or USUAL not in self.shifts or HIDDEN in self.shifts:
            raise ConfigError(
                f"bench spatial needs a variant and a seed, a shift {USUAL!r} and none "
                f"called {HIDDEN!r}; got {self.variants}, {self.seeds} and {tuple(self.shifts)}."
            )
        episodes = self.judged, self.probed, self.episodes, self.goals
        amounts = self.workers, self.fused_longer, *episodes, *self.size_pairs
        if min(amounts) < 1 or self.steps < PROBED_STEPS:
            raise ConfigError(
                "Workers, fused_longer, episodes and pairs must be at least 1, and episodes at "
                f"least {PROBED_STEPS} steps long; got {amounts} and {self.steps} steps."
            )


def run_spatial_variants(
    out: Path,
    config: VariantsConfig | None = None,
    bars: Bars = no_bars,
    command: str = "",
) -> dict[str, Any]:
    """Record, train every variant with every seed, and let all reach and tell places.

    Args:
        out: folder; what is finished there is used again.
        config: how much of everything.
        bars: makes a progress bar for a stage.
        command: that does the same again, for the result.

    Returns:
        ``arms.NAME.{said,seeds,hidden_position_m_10}``, where a seed has, by shift, ``n``,
        ``success`` and ``position_error_cm``; ``subsets.NAME.{success,probe_cm}``;
        ``size_distance.{rgb,rgbd}.accuracy``; ``tests`` (paired, against ``point_map_world``);
        ``steps`` of training. All of the variants, seeds and subsets asked for alone.

    Raises:
        ConfigError: ``out`` holds another evaluation, or a setting that the world does not have.
        StorageError: ``out`` is not writable.
    """
    config = config or VariantsConfig()
    # which variants and seeds are asked for changes none of them: more may be asked for later
    asked = replace(config, workers=1, variants=("rgb",), seeds=(0,), fused_seeds=(), subsets=())
    settings = config_values(asked)
    settings["arms"] = settings.pop("variants")  # the name in folders that were begun before
    claim(out / "arms.json", settings, "variants")
    _record_all(out, config, bars)
    manifests = _manifests(out, config)
    work = _Work(out, config)
    models = [(seed, name) for seed in config.seeds for name in config.variants]
    fused = [(seed, FUSED) for seed in config.fused_seeds]
    with bars("training") as progress:
        map_in_processes(_Learn(work), models + fused, config.workers, progress)
    subsets = [(seed, f"{FUSED}_{name}") for seed in config.fused_seeds for name in config.subsets]
    tasks = [(seed, name, shift) for seed, name in models for shift in manifests]
    tasks += [(seed, name, USUAL) for seed, name in subsets]
    with bars("acting") as progress:
        map_in_processes(_Act(work, manifests), tasks, config.workers, progress)
    with bars("probing") as progress:
        map_in_processes(_Probe(work), models + subsets, config.workers, progress)
    base = adapted(config.base, open_dataset(out / "recording"))
    steps = {"arms": base.steps}
    if config.fused_seeds:
        steps[FUSED] = base.steps * config.fused_longer
    about = {"steps": steps, **provenance(command, 1)}
    result = result_of(
        out, config.variants, config.seeds, tuple(manifests), config.subsets, config.fused_seeds
    )
    result |= {"size_distance": _size_distance(out, config), **about}
    write_json(out / "spatial.json", result)
    return result


@dataclass(frozen=True)
class _Work:
    """The folder and its settings, in any process."""

    out: Path
    config: VariantsConfig

    def folder(self, seed: int, name: str) -> Path:
        return self.out / str(seed) / name

    def model(self, seed: int, name: str) -> Path:
        return self.folder(seed, name) / "run" / "model"

    def recipe(self, seed: int, name: str) -> Recipe:
        base = adapted(self.config.base, open_dataset(self.out / "recording"))
        base = replace(base, seed=seed, threads=1)
        if name == FUSED:
            longer = replace(base, steps=base.steps * self.config.fused_longer)
            return fused_recipe(longer, self.config.dropout)
        return variant_recipe(VARIANTS[name], base)

    def cache(self, name: str) -> Cache:
        folder = self.out / "recording" if name == "recording" else self.out / "judged" / name
        return prepare(open_dataset(folder), self.config.base.model.encoder.image_size)


@dataclass(frozen=True)
class _Learn:
    """Trains one model, and its goal policy."""

    work: _Work

    def __call__(self) -> Callable[[tuple[int, str]], None]:
        def run(task: tuple[int, str]) -> None:
            run, recipe = self.work.folder(*task) / "run", self.work.recipe(*task)
            if self.work.model(*task).is_dir():
                _check_shape(self.work.model(*task), recipe)
            else:
                begun = (run / "run.json").is_file()
                data = self.work.out / "recording"
                train_recipe(recipe, data, run, begun, diagnosed=False, acting=False)
            models = [self.work.model(*task)]
            if task[1] == FUSED:
                models = self._narrowed(models[0], task[0])
            cache = self.work.cache("recording")
            training, held_out = split_episodes(cache.num_episodes, recipe.held_out, recipe.seed)
            for model in models:
                if not has_goal_policy(model):
                    with threads(recipe.threads):
                        add_goal_policy(
                            model,
                            cache,
                            training,
                            held_out,
                            seed=recipe.seed,
                            varied=policy_appearances(recipe),
                        )

        return run

    def _narrowed(self, folder: Path, seed: int) -> list[Path]:
        """Return the model of all sensors, once for each subset of them."""
        whole, models = load_model(folder), []
        for name in self.work.config.subsets:
            models.append(self.work.model(seed, f"{FUSED}_{name}"))
            if not models[-1].is_dir():
                with storage_errors(models[-1]):
                    models[-1].parent.mkdir(parents=True, exist_ok=True)
                save_model(narrowed(whole, SUBSETS[name]), models[-1])
        return models


def _check_shape(folder: Path, recipe: Recipe) -> None:
    """Refuse a model that was made when its variant saw something else."""
    if _shape(load_model(folder).config) != _shape(recipe.model):
        raise ConfigError(f"{folder}: contains a model of another variant; choose another --out.")


def _shape(model: JEPAConfig) -> tuple[Any, ...]:
    """Return what decides a model here; how clouds are cut only where it sees one."""
    cloud = (model.cloud_tokens, model.cloud_near, model.cloud_points) if model.loose else ()
    return model.sensors, model.optional_sensors, model.encoder, model.predictor, cloud


@dataclass(frozen=True)
class _Act:
    """Lets one model reach in one shift."""

    work: _Work
    manifests: Mapping[str, Manifest]

    def __call__(self) -> Callable[[tuple[int, str, str]], None]:
        def run(task: tuple[int, str, str]) -> None:
            seed, name, shift = task
            file = self.work.folder(seed, name) / "records" / f"{shift}.jsonl"
            spec = ModelSpec(self.work.model(seed, name), Planning(DIRECT))
            evaluate(self.manifests[shift], spec, out=file)

        return run


@dataclass(frozen=True)
class _Probe:
    """Reads the object's place out of one model's latents."""

    work: _Work

    def __call__(self) -> Callable[[tuple[int, str]], None]:
        def run(task: tuple[int, str]) -> None:
            file = self.work.folder(*task) / "probes.json"
            if file.is_file():
                return
            seed, config = task[0], self.work.config
            model, cache = load_model(self.work.model(*task)), self.work.cache("recording")
            training, _ = split_episodes(cache.num_episodes, config.base.held_out, seed)
            known = cache, training[: config.probed]
            wanted = [USUAL] if task[1].startswith(FUSED) else [*config.shifts]
            judged = {shift: self.work.cache(shift) for shift in wanted}
            write_json(
                file,
                {
                    "position_error_cm": position_errors_cm(model, known, judged, seed),
                    "hidden": hidden_position(model, known, self.work.cache(HIDDEN), seed),
                },
            )

        return run


def _record_all(out: Path, config: VariantsConfig, bars: Bars) -> None:
    """Record what all learn from and are judged on, and prepare it before processes share it."""
    work = _Work(out, config)
    wanted: dict[str, tuple[int, int, Mapping[str, Any]]] = {
        "recording": (config.episodes, config.seed, {})
    }
    for shift, settings in {**config.shifts, HIDDEN: config.hidden}.items():
        # one seed for all shifts: the same scenes, seen otherwise; none of them is trained on
        wanted[f"judged/{shift}"] = (config.judged, config.seed + 1, settings)
    for name, (episodes, seed, settings) in wanted.items():
        with bars(f"recording {name}") as progress:
            record(
                "tabletop",
                out / name,
                episodes,
                config.steps,
                workers=config.workers,
                seed=seed,
                settings=_settings(config, settings),
                resume=(out / name).exists(),
                progress=progress,
            )
        work.cache(name.removeprefix("judged/"))


def _settings(config: VariantsConfig, more: Mapping[str, Any]) -> dict[str, Any]:
    size = config.base.model.encoder.image_size
    return {"image_size": size, **config.world, **more}


def _manifests(out: Path, config: VariantsConfig) -> dict[str, Manifest]:
    manifests = {}
    for shift, settings in config.shifts.items():
        manifests[shift] = make_manifest(
            "tabletop",
            "reach",
            config.goals,
            config.seed,
            _settings(config, settings),
        )
        manifests[shift].save(out / "manifests" / f"{shift}.json")
    listed = [[episode.seed for episode in one.episodes] for one in manifests.values()]
    if any(seeds != listed[0] for seeds in listed):
        raise ConfigError(
            "The shifts have different episodes, so they cannot be paired. Use settings that "
            "change the appearance only, not where things start."
        )
    return manifests


def _size_distance(out: Path, config: VariantsConfig) -> dict[str, dict[str, Any]]:
    work, found = _Work(out, config), {}
    for name, variant in SIZE_VARIANTS.items():
        if variant in config.variants:
            model = load_model(work.model(config.seeds[0], variant))
            size = model.config.encoder.image_size
            found[name] = size_distance(model, *config.size_pairs, config.seed, size)
    return found

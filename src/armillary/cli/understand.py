"""Understand: probe a model, measure its surprise, and test its intuitive physics."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from armillary.api.tables import probe_rows
from armillary.cli.again import again
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, existing
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError

if TYPE_CHECKING:
    from armillary.services.asking import SurpriseOfClip


@dataclass(frozen=True, kw_only=True)
class Probe(Command):
    """Read positions and other ground truth from a model's latents.

    A linear probe and a small MLP are fitted. The controls are an untrained encoder and shuffled
    labels. Training and test episodes are separate.

    e.g. armillary probe out/run/model out/tabletop
    """

    model: Positional[str]
    """Model folder, run folder, zoo:NAME, or Hub id."""
    dataset: Positional[Path]
    """Dataset with ground truth, i.e. a recording of a simulated world."""
    targets: str = ""
    """Ground-truth streams, separated by commas. Default: all that end in _xy."""

    def run(self) -> Outcome:
        """Probe."""
        existing(self.dataset, "a dataset folder")
        from armillary.services.asking import probe_model

        targets = tuple(name for name in self.targets.split(",") if name)
        with bar("preparing") as progress:
            found = probe_model(self.model, self.dataset, targets, progress)
        notes = tuple(f"{name}: {row['note']}" for name, row in found.items() if "note" in row)
        return Outcome({"probe": found}, notes, probe_rows(found))


@dataclass(frozen=True, kw_only=True)
class Surprise(Command):
    """Measure how surprised a model is at every step of a clip.

    Surprise is the model's prediction error. 1 is normal. Events are found without
    the model: where the pictures change as normal pictures never do.

    e.g. armillary surprise out/run/model out/tabletop:3 --out out/surprise
    """

    model: Positional[str]
    """Model folder, run folder, zoo:NAME, or Hub id."""
    clip: Positional[str]
    """A video file, or DATASET:EPISODE."""
    out: Path | None = None
    """Folder for surprise.json and a page that plays. Without it, nothing is written."""
    normal: Path | None = None
    """Dataset of normal recordings to calibrate on."""

    def run(self) -> Outcome:
        """Measure surprise."""
        from armillary.services.asking import surprise_clip

        if self.normal is not None:
            existing(self.normal, "a dataset folder")
        command = again(self, "surprise")
        with bar("preparing") as progress:
            found = surprise_clip(self.model, self.clip, self.out, self.normal, progress, command)
        most = found.peak_step - 1
        said = (
            f"most surprising: step {found.peak_step} ({found.time_s[most]:.2f} s), "
            f"{found.surprise[most]:.1f} where 1 is normal; calibrated on {found.normal}"
        )
        rows = [
            {"time": f"{time_s:.2f} s", "surprise": f"{own:.2f}", "copy-last": f"{copy:.2f}"}
            for time_s, own, copy in zip(found.time_s, found.surprise, found.copy_last, strict=True)
        ]
        if found.pixel_difference:
            pixels = found.pixel_difference
            rows = [
                row | {"pixel change": f"{own:.4f}"} for row, own in zip(rows, pixels, strict=True)
            ]
        page = (f"page: {self.out / 'surprise.html'}",) if self.out is not None else ()
        return Outcome({"surprise": found}, (said, *_events(found), *page), rows)


def _events(found: SurpriseOfClip) -> tuple[str, ...]:
    """Return a line for each event of a clip, and how many of them may be false alarms."""
    if found.events is None:
        return ()
    rate = found.false_alarms_per_minute
    often = "" if rate is None else f"; {rate:.1f} false alarms a minute on normal pictures"
    head = f"events unlike normal pictures: {len(found.events)}{often}"
    return (head, *(f"  {event}" for event in found.events))


@dataclass(frozen=True, kw_only=True)
class Understand(Command):
    """Test whether a model tells possible from impossible clips.

    A quadruplet combines two contexts and two outcomes. Two of its clips are possible, two are not.
    The model is right if the impossible clips surprise it more. Chance is 50 %. Baselines without
    any physics are tested on the same clips.

    e.g. armillary understand runs/stage --out out/understand
    """

    models: Positional[tuple[str, ...]] = ()
    """Model folders, run folders or Hub ids. Several are seeds of one recipe.
    Or one folder of V-JEPA 2 or VideoMAE.
    None with --self-test, --make-set or --ask-people."""
    self_test: bool = False
    """Test the suite itself, with known scores and planted errors."""
    make_set: bool = False
    """Generate the test set and print its hash."""
    workers: int = 2
    """With --make-set: number of processes. With --on: number of actors.
    The result does not depend on it."""
    on: str = ""
    """ray: judge the clips in actors of Ray.
    ray://HOST:PORT: in those of a cluster that shares the disk of the model."""
    ask_people: bool = False
    """Write a page that tests a person on the same clips."""
    out: Path = Path("out/understand")
    """Folder for result.json and the scores of every clip."""
    count: int = 500
    """Test quadruplets per concept. The fixed test set has 500."""
    fresh: int = 200
    """Fresh quadruplets per concept. Their seed is the hash of weights and suite."""
    controls: int = 100
    """Quadruplets per concept for the controls. 0 for none."""
    concepts: str = ""
    """Concepts, separated by commas. Default: all."""
    suite: str = "quadruplets"
    """quadruplets, or a published benchmark in --data:
    intphys, intphys2, grasp, inflevel or physical_concepts."""
    data: Path | None = None
    """Folder of that benchmark, as published."""

    def run(self) -> Outcome:
        """Ask."""
        if self.self_test:
            self._refuse_others("with --self-test", "self_test")
            return _self_test()
        if self.make_set:
            self._refuse_others("with --make-set", "make_set", "count", "workers")
            return self._make_set()
        if self.ask_people:
            self._refuse_others("with --ask-people", "ask_people", "out")
            return self._ask_people()
        if not self.models:
            raise ConfigError(
                "armillary understand needs a model, or --self-test to test the suite."
            )
        if self.suite != "quadruplets":
            self._refuse_others(f"with --suite {self.suite}", "models", "suite", "data", "out")
            return self._published()
        meant = ("models", "out", "count", "fresh", "controls", "concepts", *self._on_ray())
        self._refuse_others("for the quadruplets", *meant)
        return self._quadruplets()

    def _on_ray(self) -> tuple[str, ...]:
        """Return the options that have an effect because of ``--on``."""
        return ("on", "workers") if self.on else ()

    def _refuse_others(self, asked: str, *meant: str) -> None:
        """Refuse what was chosen but means nothing for what is asked."""
        for option in fields(self):
            chosen = getattr(self, option.name) != option.default
            if chosen and option.name not in ("json", *meant):
                flag = f"--{option.name.replace('_', '-')}"
                named = "MODELS" if option.name == "models" else flag
                raise ConfigError(f"{named} has no effect {asked}; leave it out.")

    def _quadruplets(self) -> Outcome:
        from armillary.services.understand.seeds import understand_seeds
        from armillary.services.understand.study import (
            UnderstandConfig,
            understand_judge,
            understand_model,
        )
        from armillary.understanding.suites.quadruplets.pretrained import (
            PretrainedPanel,
            is_pretrained,
        )

        names = tuple(name for name in self.concepts.split(",") if name)
        few = min(self.count, 50)
        config = UnderstandConfig(
            count=self.count,
            fresh=self.fresh,
            dev=min(self.count, 100),
            controls=self.controls,
            twins=few,
            concepts=names,
            on=self.on,
            workers=self.workers,
        )
        said = again(self, "understand")
        if len(self.models) > 1:
            found = understand_seeds(self.models, self.out, config, bar, said)
            return Outcome({"understand": found}, _conclusions(found, self.out), _seeds(found))
        model = self.models[0]
        if is_pretrained(Path(model)):
            asked = "for a model that was trained elsewhere"
            self._refuse_others(asked, "models", "out", "count", "concepts", *self._on_ray())
            # whole, because actors of Ray have another working directory
            panel = PretrainedPanel(Path(model).absolute())
            found = understand_judge(panel, self.out, config, bar, said)
        else:
            found = understand_model(model, self.out, config, bar, said)
        return Outcome({"understand": found}, _conclusions(found, self.out), _rows(found))

    def _ask_people(self) -> Outcome:
        from armillary.services.asking_people import ask_people

        page = ask_people(self.out / "people.html")
        return Outcome({"page": str(page)}, (f"written: {page}",))

    def _make_set(self) -> Outcome:
        from armillary.services.making_quadruplets import make_set

        with bar("making") as progress:
            found = make_set(
                self.count,
                self.workers,
                progress=progress,
                command=again(self, "understand"),
            )
        said = (
            f"{found['quadruplets']:,} quadruplets, {found['quadruplets_per_s']:.0f} per second "
            f"with {self.workers} processes; sha256 {found['sha256']}"
        )
        return Outcome({"set": found}, (said,))

    def _published(self) -> Outcome:
        from armillary.services.understand.published import understand_benchmark

        if self.data is None or len(self.models) != 1:
            raise ConfigError(f"--suite {self.suite} needs one model, and --data with its folder.")
        said = again(self, "understand")
        found = understand_benchmark(self.models[0], self.suite, self.data, self.out, bar, said)
        rows = [
            {
                "concept": name,
                "groups": str(row["groups"]),
                "D": "" if row["double"] is None else f"{row['double']:.1f} %",
                "pairs": f"{row['pair']:.1f} %",
                "95 %": f"{row['wilson95'][0]:.0f}-{row['wilson95'][1]:.0f} %",
                "own copy": _of_copy(found, name),
                "ties lost (published)": f"{row['pair_published']:.1f} %",
                "relative error": f"{row['relative_error_published']:.2f}",
                "AUROC": f"{row['single_auroc']:.2f}",
            }
            for name, row in found["concepts"].items()
        ]
        hidden = f"; {found['without_label']} without a label" if found["without_label"] else ""
        text = f"{found['clips']} clips{hidden}; written to {self.out}"
        return Outcome({"understand": found}, (text,), rows)


def _of_copy(found: dict[str, Any], concept: str) -> str:
    controls = found["controls"]
    copy = controls.get("copy_last", controls["copy_last_pixels"])
    return f"{copy[concept]['pair']:.1f} %"


def _self_test() -> Outcome:
    from armillary.understanding.suites.quadruplets import self_test

    with bar("self-test") as progress:
        checks = self_test(progress=progress)
    rows = [
        {"check": name, "passed": "yes" if found["ok"] else "NO", "found": found["detail"]}
        for name, found in checks.items()
    ]
    broken = sum(not found["ok"] for found in checks.values())
    said = f"{len(checks) - broken} of {len(checks)} checks passed"
    return Outcome({"checks": checks}, (said,), rows, exit_code=1 if broken else 0)


def _rows(found: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "concept": name,
            "n": str(row["n"]),
            "D": f"{row['d_accuracy']:.1f} %",
            "95 %": f"{row['wilson95'][0]:.0f}-{row['wilson95'][1]:.0f} %",
            "both": f"{row['both_right']:.0f} %",
            "over own copy": f"{row['gain_over_copy']:+.1f}",
            "p (Holm)": f"{row['p_holm']:.1g}",
            "AUROC": f"{row['auroc']:.2f}",
            "headline": "yes" if row["headline"] else "no",
        }
        for name, row in found["concepts"].items()
    ]


def _seeds(found: dict[str, Any]) -> list[dict[str, str]]:
    counted = {name for name, row in found["seeds"][0]["concepts"].items() if row["headline"]}
    return [
        {
            "concept": name,
            "mean": f"{mean:.1f} %",
            **{
                seed["model"]: f"{seed['concepts'][name]['d_accuracy']:.1f}"
                for seed in found["seeds"]
            },
            "headline": "yes" if name in counted else "no",
        }
        for name, mean in found["concepts"].items()
    ]


def _conclusions(found: dict[str, Any], out: Path) -> tuple[str, ...]:
    headline = found["mean_headline"]
    text = (
        "no concept qualifies" if headline is None else f"{headline:.1f} % (mean of D, chance 50)"
    )
    said = [f"headline: {text}"]
    if gap := found.get("fresh_minus_test"):
        verdict = "the model may have seen the test set" if gap["suspicious"] else "as expected"
        said.append(
            f"fresh minus test set: {gap['mean']:+.1f} points (error {gap['se']:.1f}), {verdict}"
        )
    if single := found.get("single_clips"):
        said.append(f"single clips: AUROC {single['auroc']:.2f}, {single['right']:.1f} % correct")
    if hidden := found.get("hidden_position"):
        said.append(
            f"position error after {hidden['steps_hidden']} hidden steps: {hidden['model']:.1f} "
            f"units (last seen position: {hidden['last_seen']:.1f}, "
            f"constant velocity: {hidden['constant_velocity']:.1f})"
        )
    return (*said, f"written to {out}")

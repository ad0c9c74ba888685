"""The training loop, to be read from top to bottom.

    make model -> fit scales -> (resume) -> step, log, evaluate, checkpoint -> (fine-tune) -> save

One process, or several under ``torchrun``, unchanged. A run killed at any moment and resumed ends
in the same weights to the bit, because a step depends on nothing but its number and the weights.
Where clips are varied (``augment``), also on the number of processes: each draws for its own share.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from armillary.core.alone import alone_in
from armillary.core.errors import CheckpointError, ConfigError, TrainingError
from armillary.core.files import read_json, write_json
from armillary.core.hashing import json_sha256
from armillary.core.progress import Progress, silent
from armillary.data import Windows
from armillary.data.streamed import StreamedWindows
from armillary.models import JEPA, JEPAConfig, save_model, untrained
from armillary.models.config import config_values
from armillary.training.allocation import keep_memory
from armillary.training.compute import ComputeConfig
from armillary.training.config import TrainConfig
from armillary.training.finetuning import finetune_predictor, finetuning_windows, step_ahead_error
from armillary.training.log import Log, Tracker, read_log
from armillary.training.processes import (
    Processes,
    check_share,
    join_processes,
    leads,
    own_cores,
    planned_processes,
)
from armillary.training.scales import fit_scales
from armillary.training.state import (
    LOCK,
    Saves,
    drop_leftovers,
    has_checkpoints,
    load_state,
    naming,
)
from armillary.training.stepper import Stepper

_EVAL_BATCHES = 4


@dataclass(frozen=True)
class TrainSummary:
    """What a run ended with.

    Attributes:
        out: folder of the run; the model is ``out / "model"``.
        steps: optimizer steps of the whole run.
        resumed_at: steps that an earlier attempt had taken.
        frames_per_s: frames that went through the encoder per second, all work counted.
        seconds: of this attempt.
        loss: the last training loss.
        held_out: the last held-out loss terms.
        warnings: damaged checkpoints that were passed over at resume, and what the collapse
            diagnosis says of the final latents.
    """

    out: Path
    steps: int
    resumed_at: int
    frames_per_s: float
    seconds: float
    loss: float
    held_out: dict[str, float]
    warnings: tuple[str, ...]


def train(
    model_config: JEPAConfig,
    config: TrainConfig,
    windows: Windows,
    held_out: Windows | None,
    out: Path,
    resume: bool = False,
    tracker: Tracker = "none",
    progress: Progress = silent,
    compute: ComputeConfig | None = None,
) -> TrainSummary:
    """Train a model on clips and leave it in ``out / "model"``.

    Args:
        model_config: shape of the model.
        config: settings of the run.
        windows: training clips, ``config.clip_length`` model steps long.
        held_out: clips of other episodes, for the held-out loss.
        out: folder of the run.
        resume: go on from the newest checkpoint in ``out`` that is not damaged.
        tracker: where numbers go besides ``log.jsonl``.
        progress: called after each step.
        compute: how it is computed; None for the usual way.

    Raises:
        ConfigError: ``out`` holds a run and ``resume`` is off, another training is writing there,
            or settings that do not go together.
        TrainingError: fewer clips than a batch, or the loss is not a number.
        DatasetError: no episode is long enough for the clips of the fine-tuning.
        CheckpointError: the checkpoint to resume belongs to other settings or data, or all are
            damaged.
        StorageError: the disk is full or not writable.
    """
    _check(config, windows, out, resume)
    compute = compute or ComputeConfig()
    check_share(config.batch_size, planned_processes())
    compute.check(config.batch_size, planned_processes())
    if config.settling.sensor_dropout and not model_config.optional_sensors:
        raise ConfigError(
            "finetune.sensor_dropout needs model.optional_sensors, which is empty. Leave it out or "
            "name the sensors that may be missing."
        )
    keep_memory()
    # before processes join: where the leading one finds another training, none waits in vain
    alone = alone_in(out, "training", LOCK) if leads() else nullcontext()
    with alone, threads(config.threads), join_processes() as processes:
        model = untrained(model_config, config.seed)
        fit_scales(model, windows.at_hand(), config.seed)
        stepper = Stepper(model, config, windows, processes, compute)
        digest = json_sha256([config_values(model_config), _what_decides(config), _data(windows)])
        done, damage = load_state(out, stepper, digest) if resume else (0, ())
        with Saves(out, stepper, digest) as saves:
            run = _Run(out, config, stepper, held_out, done, saves, tracker, progress, damage)
            run.start(
                {
                    "model": config_values(model_config),
                    "train": config_values(config),
                    "digest": digest,
                }
            )
            run.steps()
            return run.finish()


class _Run:
    """One attempt at a run: what to do around each step."""

    def __init__(
        self,
        out: Path,
        config: TrainConfig,
        stepper: Stepper,
        held_out: Windows | None,
        done: int,
        saves: Saves,
        tracker: Tracker,
        progress: Progress,
        damage: tuple[str, ...],
    ) -> None:
        self.out, self.config, self.stepper, self.held_out_windows = out, config, stepper, held_out
        self.resumed_at, self.saves, self.tracker, self.progress = done, saves, tracker, progress
        self.loss, self.held_out, self.warnings = _logged(out, done)
        self.damage = damage
        self.log: Log | None = None

    @property
    def processes(self) -> Processes:
        return self.stepper.processes

    @property
    def total(self) -> int:
        """Steps of the whole run, those of the fine-tuning included."""
        return self.config.steps + self.config.settling.steps

    def start(self, about: dict[str, Any]) -> None:
        if self.processes.leads:
            drop_leftovers(self.out)
            write_json(self.out / "run.json", about)
            self.log = Log(self.out, self.resumed_at, self.tracker)
        self.began = time.perf_counter()

    def steps(self) -> None:
        """Take all steps that are left."""
        for step in range(self.resumed_at, self.config.steps):
            numbers, latents = self.stepper.step(step)
            done = step + 1
            if done % self.config.log_every == 0 or done == self.config.steps:
                self._write_log(done, self.processes.mean(numbers), latents)
            if done % self.config.eval_every == 0 or done == self.config.steps:
                self._evaluate(done)
            if done % self.config.checkpoint_every == 0:
                self.saves.save(done)
            if self.processes.leads:
                self.progress(done, self.total, f"{self._frames_per_s(done):,.0f} frames/s")

    def finish(self) -> TrainSummary:
        frames_per_s = self._frames_per_s(self.config.steps)
        last_kept = self.config.steps - self.config.steps % self.config.checkpoint_every
        if self.config.settling.steps and max(last_kept, self.resumed_at) < self.config.steps:
            self.saves.save(self.config.steps)
        self.saves.wait()
        model = self.stepper.best_model()
        if self.config.settling.steps:
            self._finetune(model)
        if self.processes.leads:
            windows = self.stepper.windows
            model.step_s = windows.stride / windows.cache.fps
            with naming(self.out / "model"):
                save_model(model, self.out / "model")
        self.processes.wait()
        return TrainSummary(
            out=self.out,
            steps=self.config.steps,
            resumed_at=self.resumed_at,
            frames_per_s=frames_per_s,
            seconds=time.perf_counter() - self.began,
            loss=self.loss,
            held_out=self.held_out,
            warnings=(*self.damage, *self.warnings),
        )

    def _finetune(self, model: JEPA) -> None:
        """Fine-tune the predictor; a run that is killed meanwhile begins the fine-tuning again.

        Every process does all of it, so that none waits for another for longer than it may.
        """
        config = self.config

        def write(done: int, values: dict[str, float]) -> None:
            if self.log is not None:
                self.log.write(config.steps + done, values)

        def watch(done: int, error: float) -> None:
            if done % config.log_every == 0 or done == config.settling.steps:
                write(done, {"train/settling": error})
            if self.processes.leads:
                self.progress(config.steps + done, self.total, "fine-tuning")

        batch = config.settling.batch_size or round(config.batch_size / config.settling.starts)
        finetune_predictor(
            model,
            self.stepper.windows.at_hand(),
            replace(config.settling, batch_size=batch),
            config.seed,
            watch,
            varied=config.augment if config.settling.varied else None,
            sensor_dropout=config.settling.sensor_dropout or config.objective.sensor_dropout,
        )
        if self.held_out_windows is not None and len(self.held_out_windows):
            error = step_ahead_error(model, self.held_out_windows, config.seed)
            write(config.settling.steps, {"eval/settling": error})

    def _write_log(
        self, done: int, numbers: dict[str, torch.Tensor], latents: torch.Tensor
    ) -> None:
        self.loss = float(numbers["loss"])
        diagnosis = self.stepper.diagnose(latents)
        self.warnings = diagnosis.warnings
        if self.log is None:
            return
        values: dict[str, Any] = {f"train/{name}": float(v) for name, v in numbers.items()}
        values["train/lr"] = self.stepper.optimizer.rate
        values["train/samples_per_s"] = self._frames_per_s(done) / self.config.clip_length
        for name in ("effective_rank", "least_spread", "mean_spread", "motion_share"):
            values[f"latent/{name}"] = getattr(diagnosis, name)
        if diagnosis.warnings:
            values["warnings"] = list(diagnosis.warnings)
        self.log.write(done, values)

    def _evaluate(self, done: int) -> None:
        if self.held_out_windows is None or not len(self.held_out_windows):
            return
        self.held_out = self.stepper.held_out(self.held_out_windows, _EVAL_BATCHES)
        if self.log is not None:
            self.log.write(done, {f"eval/{name}": v for name, v in self.held_out.items()})

    def _frames_per_s(self, done: int) -> float:
        frames = (done - self.resumed_at) * self.config.batch_size * self.config.clip_length
        return frames / max(1e-9, time.perf_counter() - self.began)


def check_free(out: Path, resume: bool) -> None:
    """Refuse a folder that holds a run, unless that run is to be continued.

    Raises:
        ConfigError: it does.
    """
    if (out / "run.json").exists() and not resume:
        raise ConfigError(
            f"{out}: holds a training run already. Continue it with --resume, or choose a new "
            "--out."
        )


def check_settings(
    model_config: JEPAConfig, config: TrainConfig, out: Path, of_data: Collection[str]
) -> None:
    """Refuse settings other than those that the checkpoints of a run were made with.

    It takes no data: ``train`` compares those as well.

    Args:
        model_config: shape of the model.
        config: settings of the run.
        out: folder of the run; one without checkpoints takes any settings.
        of_data: names of what ``model_config`` takes from prepared data, which are not compared.

    Raises:
        CheckpointError: a setting that decides what a checkpoint holds differs.
        FormatError: ``run.json`` is damaged.
    """
    if not has_checkpoints(out):
        return
    stored = read_json(out / "run.json")
    apart = {*of_data, "model", "tracker"}
    for part, values in (("model", config_values(model_config)), ("train", _what_decides(config))):
        for name in sorted(values.keys() - apart):
            if json.loads(json.dumps(values[name])) != stored[part].get(name):
                raise CheckpointError(
                    f"{out}: its checkpoints were made with another value of {name}; resume with "
                    "the same settings, or choose a new --out."
                )


def _check(config: TrainConfig, windows: Windows, out: Path, resume: bool) -> None:
    if not (config.clip_length and config.batch_size):
        raise ConfigError("clip_length and batch_size must be set; a recipe leaves them to data.")
    count = len(windows)
    if count < config.batch_size:
        smaller = f"Pass --batch-size {count}, or record more." if count > 1 else "Record more."
        raise TrainingError(
            f"{count} training clips of {config.clip_length} steps are fewer than a batch "
            f"of {config.batch_size}. {smaller}"
        )
    check_free(out, resume)
    if config.settling.steps:
        # an episode too short is refused now, not in the end
        finetuning_windows(windows.at_hand(), config.settling)


def _what_decides(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that decide what a checkpoint holds.

    How often one looks does not, nor where numbers go besides the log, nor the fine-tuning, which
    begins after the last. ``passes`` has been made a number of steps.
    """
    others = ("log_every", "eval_every", "checkpoint_every", "threads", "settling", "passes")
    settings = {name: value for name, value in config_values(config).items() if name not in others}
    # always as most runs have it, so that runs from before this was left out go on
    return settings | ({"tracker": "none"} if "tracker" in settings else {})


def _logged(out: Path, done: int) -> tuple[float, dict[str, float], tuple[str, ...]]:
    """Return loss, held-out terms and warnings as an earlier attempt had logged them last."""
    loss, held_out, warnings = float("nan"), {}, ()
    if not done or not (out / "log.jsonl").is_file():
        return loss, held_out, warnings
    for entry in read_log(out / "log.jsonl"):
        if entry.get("step", 0) > done:
            break
        if "train/loss" in entry:
            loss, warnings = entry["train/loss"], tuple(entry.get("warnings", ()))
        terms = {k.removeprefix("eval/"): v for k, v in entry.items() if k.startswith("eval/")}
        held_out = terms or held_out
    return loss, held_out, warnings


def _data(windows: Windows) -> list[Any]:
    """Return what names the training clips."""
    cache = windows.cache
    identity = cache.about.get("identity", [cache.num_episodes, cache.num_frames])
    episodes = cache.episodes[windows.episodes].tolist()
    named = [identity, episodes, windows.length, windows.stride, list(cache.size)]
    if not isinstance(windows, StreamedWindows):
        return named
    # blocks decide the order, too, and of several processes whose they are
    owners = windows.blocks.owners
    return [*named, windows.blocks.training, *([owners] if owners else [])]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads, 0 for all cores, and then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or own_cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)

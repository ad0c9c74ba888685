"""Training bench: frames per second of a whole optimizer step, beside LeWM's own.

All of armillary's step is counted: gathering the clips, encoding, rolling out, losses, backward
pass, clipping, optimizer. LeWM (``stable-worldmodel``, in its own environment) gets its tensors
ready made, so its loading is free. Same threads, turns in one run, medians.

A frame is a picture that goes through the encoder: clips x clip length for armillary, windows x 4
for LeWM.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from armillary.benchmark.flops import count_flops, matmul_flops_per_s
from armillary.benchmark.lewm import LeWM
from armillary.benchmark.machine import provenance
from armillary.benchmark.peers import PeerProcess
from armillary.benchmark.recording import open_or_record
from armillary.benchmark.threads import threads_of_torch
from armillary.benchmark.timing import medians, ratios, rounded, take_turns
from armillary.core.cores import core_count
from armillary.core.progress import Progress, silent
from armillary.data import Dataset, Windows, prepare
from armillary.models import JEPAConfig, untrained
from armillary.training import Processes, Stepper, TrainConfig, fit_scales

_PEAK = "matmul"


@dataclass(frozen=True)
class TrainBench:
    """Settings of the training bench.

    Attributes:
        threads: threads of either side; 0: the cores that this process may use.
        repetitions: counted turns of each.
        seconds: how long armillary trains per turn.
        lewm_seconds: how long LeWM trains per turn, at least one step.
        lewm_batches_224: batch sizes tried at 224 px; the fastest per frame is measured.
        lewm_batches_64: batch sizes tried at 64 px.
        lewm_patch_64: side of LeWM's patches at 64 px. 8 keeps the whole picture (8 x 8 patches);
            14, its default, drops a border of 8 pixels at 64 px and is measured beside it.
        episodes: of the recording that is made when none is given.
        steps: of each of its episodes.
    """

    threads: int = 0
    repetitions: int = 5
    seconds: float = 4.0
    lewm_seconds: float = 6.0
    lewm_batches_224: tuple[int, ...] = (8, 16, 32)
    lewm_batches_64: tuple[int, ...] = (32, 64, 128)
    lewm_patch_64: int = 8
    episodes: int = 40
    steps: int = 150


def bench_train(
    out: Path,
    model: JEPAConfig,
    train: TrainConfig,
    data: Path | None = None,
    settings: TrainBench = TrainBench(),
    peers: bool = True,
    progress: Progress = silent,
    command: str = "",
) -> dict[str, Any]:
    """Measure training frames per second, side by side.

    Args:
        out: folder for the recording and its cache.
        model: shape of the model; action and proprioception widths are taken from the data.
        train: settings of the training.
        data: a dataset with the model's streams; a tabletop recording is made if None.
        settings: how long and how often.
        peers: whether to measure LeWM too.
        progress: called after each measurement.
        command: that does the same again, for the result.

    Returns:
        ``frames_per_s.{armillary,lewm_224,lewm_64,...}``, ``ratio.{lewm_224,lewm_64,...}`` (how
        many times as fast armillary is), ``flop_utilisation`` (0..1), ``command``,
        ``commit``, ``date``, ``machine``, settings, every repetition.

    Raises:
        MissingExtraError: the peer could not be installed.
    """
    threads = settings.threads or core_count()
    origin = provenance(command, threads)
    dataset = open_or_record(data, out, settings.episodes, settings.steps, progress)
    with threads_of_torch(threads), ExitStack() as stack:
        ours = OurStep(model, train, dataset, out / "cache", settings.seconds)
        lewm = None
        if peers:
            process = PeerProcess("stable-worldmodel", "lewm_step.py", threads)
            lewm = LeWM(stack.enter_context(process), _lewm_variants(settings), threads)
            lewm.build(settings.lewm_seconds, progress)
        measures = {"armillary": ours.measure} | (lewm.measures() if lewm else {})
        measures[_PEAK] = ours.peak
        speeds = take_turns(measures, settings.repetitions, progress)
    result = {**origin, "settings": asdict(settings)}
    return _numbers(speeds, ours) | result | {"lewm": lewm.about if lewm else None}


class OurStep:
    """armillary's optimizer step over a dataset, exactly as its training loop takes it."""

    def __init__(
        self, model: JEPAConfig, train: TrainConfig, data: Dataset, cache: Path, seconds: float
    ) -> None:
        prepared = prepare(data, model.encoder.image_size, cache_root=cache)
        streams = tuple("depth" if name == "depth_m" else name for name in model.streams)
        windows = Windows(prepared, None, train.clip_length, model.frame_skip, streams)
        sample = windows.gather(torch.zeros(1, dtype=torch.int64).numpy())
        proprio = sample.streams["proprio"].shape[-1] if "proprio" in sample.streams else 0
        width = 0 if sample.actions is None else sample.actions.shape[-1]
        self.model_config = replace(model, action_width=width, proprio_width=proprio)
        self.train_config, self._seconds = train, seconds
        network = untrained(self.model_config, train.seed)
        fit_scales(network, windows, train.seed)
        self.stepper = Stepper(network, train, windows, Processes(0, 1, torch.device("cpu")))
        self._step = 0
        self.flops = count_flops(self.step)

    @property
    def frames(self) -> int:
        """Frames of one step."""
        return self.train_config.batch_size * self.train_config.clip_length

    def step(self) -> None:
        """Take the next step of the run."""
        self.stepper.step(self._step)
        self._step += 1

    def measure(self) -> float:
        """Train for a while and return frames/s."""
        begin, count = time.perf_counter(), 0
        while time.perf_counter() - begin < self._seconds:
            self.step()
            count += 1
        return count * self.frames / (time.perf_counter() - begin)

    def peak(self) -> float:
        """Return FLOP/s of large matrix products in the type that the step computes in."""
        return matmul_flops_per_s(self.stepper.dtype)


def _numbers(speeds: dict[str, list[float]], ours: OurStep) -> dict[str, Any]:
    """Return speeds, ratios and utilisation, and all they were computed from."""
    peak = max(speeds[_PEAK])
    contest = {name: values for name, values in speeds.items() if name != _PEAK}
    middle = medians(contest)
    achieved = middle["armillary"] * ours.flops / ours.frames
    return {
        "frames_per_s": rounded(middle),
        "ratio": rounded(ratios(middle, "armillary")),
        "flop_utilisation": round(achieved / peak, 4),
        "flops": {
            "per_frame": ours.flops / ours.frames,
            "achieved_per_s": achieved,
            "peak_per_s": peak,
            "dtype": str(ours.stepper.dtype).removeprefix("torch."),
        },
        "model": asdict(ours.model_config),
        "train": asdict(ours.train_config),
        "repetitions": speeds,
    }


def _lewm_variants(settings: TrainBench) -> dict[str, dict[str, Any]]:
    small = {"size": 64, "batches": settings.lewm_batches_64}
    return {
        "lewm_224": {"size": 224, "patch": 14, "batches": settings.lewm_batches_224},
        "lewm_64": {"patch": settings.lewm_patch_64, **small},
        "lewm_64_patch_14": {"patch": 14, **small},
    }

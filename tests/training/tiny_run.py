"""A run of a dozen steps that takes a fraction of a second, with every loss term on.

Also what child processes do with it: run it, be killed in it, share it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from armillary.core.rng import generator
from armillary.core.values import Episode, Stream
from armillary.data import Cache, Windows
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig
from armillary.training import (
    FinetuneConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainConfig,
    TrainSummary,
    train,
)

SIDE, STEPS_PER_EPISODE, CLIP = 16, 12, 4
MODEL = JEPAConfig(
    sensors=("rgb", "points", "proprio"),
    encoder=EncoderConfig(
        image_size=SIDE,
        patch=8,
        patch_hidden=16,
        patch_width=8,
        hidden=16,
        tokens=2,
        width=4,
        stem="convolutions",
    ),
    predictor=PredictorConfig(memory=8, hidden=8),
    action_width=2,
    proprio_width=1,
)
# every weight that such a model can have
TERMS = (
    "rollout",
    "sigreg",
    "variance",
    "covariance",
    "motion_variance",
    "motion_covariance",
    "inverse_dynamics",
    "smoothness",
    "visual_words",
)
CONFIG = TrainConfig(
    steps=12,
    batch_size=8,
    clip_length=CLIP,
    precision="float32",
    threads=1,
    log_every=1,
    eval_every=6,
    checkpoint_every=5,
    optimizer=OptimizerConfig(lr=3e-3),
    settling=FinetuneConfig(steps=3, batch_size=4),
    objective=ObjectiveConfig(**dict.fromkeys(TERMS, 0.5), rollout_steps=2),
)
# a vision transformer of two blocks, a predictor of one
BLOCKS = replace(
    MODEL,
    sensors=("rgb", "proprio"),
    encoder=EncoderConfig(
        image_size=16, patch=8, patch_hidden=16, depth=2, heads=2, tokens=4, width=4
    ),
    predictor=PredictorConfig(memory=4, hidden=16, depth=1, heads=2),
)
VIDEO = replace(MODEL, sensors=("rgb",), action_width=0, proprio_width=0)


def episode(number: int, actions: bool = True) -> Episode:
    """A square that moves as the actions say; proprioception is the frame's number in all."""
    rng = generator("test-episode", number)
    acts = rng.integers(-1, 2, (STEPS_PER_EPISODE - 1, 2))
    place = np.clip(6 + np.concatenate([[[0, 0]], np.cumsum(acts, 0)]), 0, SIDE - 5)
    rgb = np.full((STEPS_PER_EPISODE, SIDE, SIDE, 3), 60 + 20 * number, np.uint8)
    depth = np.full((STEPS_PER_EPISODE, SIDE, SIDE), 2.0, np.float32)
    for step, (row, column) in enumerate(place):
        rgb[step, row : row + 4, column : column + 4] = 220
        depth[step, row : row + 4, column : column + 4] = 1.5
    depth[:, 0] = np.nan
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[2, 3] = 2.0
    frames = number * STEPS_PER_EPISODE + np.arange(STEPS_PER_EPISODE)
    lens = np.array([[12.0, 0, 7.5], [0, 12.0, 7.5], [0, 0, 1]])
    return Episode(
        streams={
            "rgb": Stream("rgb", rgb, intrinsics=lens),
            "depth": Stream("depth", depth, "m", "camera", lens),
            "world_from_camera": Stream("pose", np.tile(pose, (STEPS_PER_EPISODE, 1, 1)), "m"),
            "proprio": Stream("proprio", frames[:, None].astype(np.float32)),
        },
        time_ns=np.arange(STEPS_PER_EPISODE, dtype=np.int64) * 100_000_000,
        actions=acts.astype(np.float32) if actions else None,
    )


def tiny_windows(numbers=range(3), actions: bool = True) -> Windows:
    cache = Cache.from_episodes([episode(number, actions) for number in numbers], SIDE)
    return Windows(cache, None, CLIP)


def run(out: Path, resume: bool = False, windows: Windows | None = None, **changes) -> TrainSummary:
    """Train the tiny run; ``changes`` replace fields of its settings."""
    progress = changes.pop("progress", lambda done, total, note="": None)
    model = changes.pop("model", MODEL)
    compute = changes.pop("compute", None)
    config = replace(CONFIG, **changes)
    clips = windows or tiny_windows()
    held_out = tiny_windows([7])
    return train(model, config, clips, held_out, out, resume, progress=progress, compute=compute)


def interrupted(out: Path, at: int, **changes) -> None:
    """Train until ``at`` steps are done, then be interrupted as by Ctrl-C."""

    def stop(done: int, total: int, note: str = "") -> None:
        if done == at:
            raise KeyboardInterrupt

    try:
        run(out, progress=stop, **changes)
    except KeyboardInterrupt:
        return
    raise AssertionError("the run was not interrupted")


def weights(out: Path) -> bytes:
    """The final weights and scales, as they are on disk."""
    files = ("model.safetensors", "normalizer.safetensors")
    return b"".join((out / "model" / name).read_bytes() for name in files)


def in_processes(work, *argument_lists, timeout_s: float = 110) -> list[int]:
    """Run a function in processes of their own, all at once, and return their exit codes.

    One that hangs is killed and has the code of SIGKILL, -9.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["armillary.training", "torch._dynamo"])
    processes = [context.Process(target=work, args=arguments) for arguments in argument_lists]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout_s)
        process.kill()
        process.join()
    return [process.exitcode for process in processes]


def slow_run(out: Path, resume: bool) -> None:
    """Train with a pause after each step, so that somebody can kill it in the middle."""
    run(out, resume, checkpoint_every=2, progress=lambda *_: time.sleep(0.01))


def killed_at_file_event(out: Path, at: int, resume: bool) -> None:
    """Train until Python is about to touch a file under ``out`` for the at-th time; die there."""
    seen = 0
    touching = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink")
    within = str(out)

    def watch(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event not in touching or within not in str(arguments[0]):
            return
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    run(out, resume)


def one_of_several(rank: int, count: int, port: int, out: Path, resume: bool, changes) -> None:
    """Train as one of the processes that ``torchrun`` would start."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in told.items()})
    torch.set_num_threads(1)
    run(out, resume, **changes)


def together(count: int, out: Path, resume: bool = False, **changes) -> None:
    """Train in several processes at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [(rank, count, port, out, resume, changes) for rank in range(count)]
    codes = in_processes(one_of_several, *ranks)
    assert codes == [0] * count, codes

"""Measure training on several processes: results/scale.json, by one command.

    python scripts/measure_scale.py

Everything runs on this machine's processor, in processes of one thread each, so nothing else should
run. What a part found is kept in out/scale. A run that was interrupted goes on with the parts that
are missing, unless the code, the machine or the settings are others: then all parts are measured
anew. The record is written when all parts are there, and says when, where and with which code the
run began. Delete out/scale to measure anew. Parts:

- speed: frames a second of one process, of two that know nothing of each other, and of two that
  train together (DDP and FSDP2; the batch of one, and twice that). They take turns, a few steps
  each, so that a busy machine slows all. Ratios are medians over turns. A model of step time and
  traffic (armillary/benchmark/scaling.py) predicts the two that train together from the two that
  do not and from all-reduces alone. Traffic is what the loopback device counted.
- losses: 12 steps of DDP and of FSDP2, two processes each. FSDP2 stopped and resumed: with two
  processes, and with one and then three.
- saving: how long a checkpoint of shards stops training, and how long it takes to be written.
- elastic: torchrun restarts both processes after SIGKILL of one, twice; the weights are compared
  with those of a run that nobody killed.
- computed: the same model for 8, 64 and 512 GPUs, and for a whole run on them. Nothing of it was
  measured on a GPU: only operations, numbers exchanged and bytes kept are counted here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch.distributed as dist

from armillary.benchmark.flops import count_flops
from armillary.benchmark.machine import provenance
from armillary.benchmark.scaling import (
    Exchanged,
    Link,
    run_hours,
    sent_bytes,
    state_bytes,
    step_seconds,
)
from armillary.core.cores import core_count
from armillary.core.files import read_json, write_json
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.values import Batch
from armillary.data import Windows, open_dataset, prepare
from armillary.models import JEPA, untrained
from armillary.models.sizes import SIZES
from armillary.recipes.recipe import fitted, needed_streams, train_recipe
from armillary.recipes.recipe_config import Recipe
from armillary.recipes.world import adapted, world
from armillary.training import ComputeConfig, Stepper, fit_scales, join_processes, read_log
from armillary.training.compute import blocks_of
from armillary.training.rollouts import predict_from_each, some_starts
from armillary.training.state import Saves
from armillary.worlds import record

ROOT = Path(__file__).resolve().parents[1]
OUT, RECORD = Path("out/scale"), Path("results/scale.json")
PARTS = ("speed", "losses", "saving", "elastic", "computed")
STEPS, EVERY = 12, 4  # of the runs that are compared
ELASTIC_STEPS = 24
TENSORS = ("model.safetensors", "normalizer.safetensors")
# Assumed for the part "computed": one H100 and its links, as its data sheet has them.
PEAK_FLOPS, UTILISATION, GPU_BYTES = 989e12, 0.35, 80e9
NODE = 8
INSIDE, BETWEEN = Link(5e-6, 450e9), Link(1e-5, 50e9)
GPUS = (8, 64, 512)
FRAMES_PER_GPU = 512
# and a whole run: the passes of the recipe over so many hours, in its model steps of 0.1 s
RECORDED_HOURS, MODEL_STEPS_PER_S = 100, 10


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        episodes: that are recorded and trained on.
        episode_steps: of each.
        turns: of the part speed.
        saved: size of the model whose checkpoints are timed.
        saves: checkpoints of each kind.
        counted: sizes whose operations are counted.
    """

    episodes: int = 24
    episode_steps: int = 60
    turns: int = 12
    saved: str = "small"
    saves: int = 3
    counted: tuple[str, ...] = tuple(SIZES)


TINY = Extent(episodes=6, turns=1, saved="tiny", saves=1, counted=("small",))


def main() -> None:
    """Measure what this run has not measured yet, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--tiny", action="store_true", help="for a test: too little for a result")
    parser.add_argument("--attempt", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    out = chosen.out.absolute()
    if chosen.attempt:
        attempt(out, json.loads(chosen.attempt))
        return
    extent = TINY if chosen.tiny else Extent()
    work: dict[str, Callable[[], dict[str, Any]]] = {
        "speed": lambda: speed(out, extent.turns),
        "losses": lambda: losses(out),
        "saving": lambda: saving(out, extent),
        "elastic": lambda: elastic(out),
        "computed": lambda: computed(out, extent),
    }
    script = str(Path(__file__).resolve().relative_to(ROOT))
    measure(out, chosen.record, extent, shlex.join(["python", script, *sys.argv[1:]]), work)


def measure(
    out: Path,
    path: Path,
    extent: Extent,
    command: str,
    work: dict[str, Callable[[], dict[str, Any]]],
) -> None:
    """Do the parts that are missing, each kept as soon as it is done, and write the record."""
    origin = begun(out, extent, command)
    data, resume = out / "data", (out / "data").exists()
    record("tabletop", data, extent.episodes, extent.episode_steps, workers=1, resume=resume)
    found: dict[str, dict[str, Any]] = {}
    for part, do in work.items():
        kept = out / "parts" / f"{part}.json"
        if kept.is_file():
            say(f"{part}: is done; delete {out} to measure anew")
        else:
            loads, start = [os.getloadavg()[0]], time.perf_counter()
            result = do()
            loads.append(os.getloadavg()[0])
            result["seconds"] = round(time.perf_counter() - start, 1)
            result["load_average"] = [round(load, 2) for load in loads]  # before and after
            write_json(kept, result)
            say(f"{part}: {json.dumps(result)}")
        found[part] = read_json(kept)
    write_json(path, origin | {"extent": asdict(extent)} | found)
    say(f"{path}: written")


def begun(out: Path, extent: Extent, command: str) -> dict[str, Any]:
    """Return the four fields of the run in a folder; what another one left there is deleted."""
    folder = ROOT / "src" / "armillary"
    files = [*sorted(folder.rglob("*.py")), Path(__file__)]
    here = provenance(command, 1)
    asked = {
        "extent": json.loads(json.dumps(asdict(extent))),
        "code": json_sha256([[path.name, file_sha256(path)] for path in files]),
        "machine": {name: here["machine"][name] for name in ("cpu", "cores", "python", "torch")},
    }
    path = out / "run.json"
    if path.is_file() and (kept := read_json(path))["asked"] == asked:
        say(f"goes on with the run that began at {kept['origin']['date']}")
        return kept["origin"]
    for name in ("parts", "data", "cache"):
        shutil.rmtree(out / name, ignore_errors=True)
    (out / "parts").mkdir(parents=True)
    write_json(path, {"asked": asked, "origin": here})
    return here


# --- what is trained


def recipe_of(out: Path) -> tuple[Recipe, Windows]:
    """Return the recipe, fitted to the recording, and its clips."""
    dataset = open_dataset(out / "data")
    recipe = adapted(world(), dataset)
    cache = prepare(dataset, recipe.model.encoder.image_size, cache_root=out / "cache")
    recipe = fitted(recipe, cache)
    return recipe, clips_of(recipe, cache)


def clips_of(recipe: Recipe, cache: Any) -> Windows:
    """Return all clips of a recording."""
    streams = needed_streams(recipe, cache)
    return Windows(cache, None, recipe.clip_length, recipe.model.frame_skip, streams)


def sized(out: Path, size: str) -> tuple[Recipe, Windows]:
    """Return the recipe with a model of a size, and two short clips a step."""
    usual = world()
    model = usual.model  # of the size tiny
    if size in SIZES:
        encoder, predictor = SIZES[size]
        model = replace(model, encoder=encoder, predictor=predictor)
    dataset = open_dataset(out / "data")
    recipe = adapted(replace(usual, model=model, clip_length=8, batch_size=2), dataset)
    cache = prepare(dataset, recipe.model.encoder.image_size, cache_root=out / "cache")
    recipe = fitted(recipe, cache)
    return recipe, clips_of(recipe, cache)


def made(
    recipe: Recipe, clips: Windows, processes: Any, parallel: Literal["ddp", "fsdp"] = "ddp"
) -> Stepper:
    """Return a stepper as the loop makes it."""
    model = untrained(recipe.model, recipe.seed)
    fit_scales(model, clips, recipe.seed)
    return Stepper(model, recipe, clips, processes, ComputeConfig(parallel=parallel))


# --- workers that wait for words


class Workers:
    """Processes of one thread each that know of each other, or one that stands alone."""

    def __init__(self, out: Path, count: int, port: int) -> None:
        context = get_context("spawn")
        self.pipes: list[Connection] = []
        self.processes = []
        for rank in range(count):
            here, there = context.Pipe()
            process = context.Process(target=worker, args=(there, out, rank, count, port))
            process.start()
            self.pipes.append(here)
            self.processes.append(process)

    def ask(self, *words: Any) -> None:
        """Let every process begin with something."""
        for pipe in self.pipes:
            pipe.send(words)

    def answers(self) -> list[dict[str, Any]]:
        """Wait for the answer of every process."""
        return [pipe.recv() for pipe in self.pipes]

    def do(self, *words: Any) -> list[dict[str, Any]]:
        """Ask, and wait for the answers."""
        self.ask(*words)
        return self.answers()

    def end(self) -> None:
        """Let every process leave."""
        self.ask("end")
        for process in self.processes:
            process.join()


def worker(pipe: Connection, out: Path, rank: int, count: int, port: int) -> None:
    """Answer until told to end."""
    # two cores' worth of processes, also for one that stands alone: none gathers clips on the other
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": 2}
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    torch.set_num_threads(1)
    recipe, clips = recipe_of(out)
    steppers: dict[tuple[int, str], tuple[Stepper, list[int]]] = {}
    with join_processes() as processes:
        while (words := pipe.recv())[0] != "end":
            kind, *arguments = words
            if kind == "steps":
                batch, parallel, steps = arguments
                if (batch, parallel) not in steppers:
                    changed = replace(recipe, batch_size=batch)
                    steppers[batch, parallel] = made(changed, clips, processes, parallel), [0]
                pipe.send(timed_steps(*steppers[batch, parallel], steps))
            elif kind == "reduce":
                pipe.send(timed_reductions(*arguments))
            elif kind == "exchanged":
                pipe.send(exchanged(made(recipe, clips, processes), recipe))
            elif kind == "save":
                size, times = arguments
                pipe.send(timed_saves(out, size, times, processes))


def timed_steps(stepper: Stepper, done: list[int], steps: int) -> dict[str, Any]:
    """Take steps and return their seconds, on the clock and of the processor."""
    stepper.processes.wait()
    begun, worked = time.perf_counter(), time.process_time()
    for _ in range(steps):
        stepper.step(done[0] % stepper.config.steps)
        done[0] += 1
    return {
        "step_s": (time.perf_counter() - begun) / steps,
        "processor_s": (time.process_time() - worked) / steps,
    }


def timed_reductions(count: int, times: int) -> dict[str, Any]:
    """Return the seconds of one all-reduce of so many float32 numbers."""
    values = torch.ones(count)
    dist.barrier()
    begun = time.perf_counter()
    for _ in range(times):
        dist.all_reduce(values)
    return {"seconds": (time.perf_counter() - begun) / times}


def exchanged(stepper: Stepper, recipe: Recipe) -> dict[str, Any]:
    """Return what the processes of a stepper exchange in one step, by counting."""
    sizes: list[int] = []
    original = dist.all_reduce

    def counted(value: torch.Tensor, *more: Any, **named: Any) -> Any:
        sizes.append(value.numel() * value.element_size())
        return original(value, *more, **named)

    stepper.step(0)  # the first one may prepare what the others use
    with patch.object(dist, "all_reduce", counted):
        stepper.step(1)
    return asdict(counted_work(stepper, sum(sizes), len(sizes)))


def counted_work(stepper: Stepper, reduced_bytes: int, reductions: int) -> Exchanged:
    """Return a stepper's parameters, and what was counted of its loss terms' sums."""
    learned = [p for p in stepper.learner.parameters() if p.grad is not None]
    blocks = blocks_of(stepper.model.encoder)
    inside = {id(p) for block in blocks for p in block.parameters()}
    return Exchanged(
        parameters=sum(p.numel() for p in learned),
        in_blocks=sum(p.numel() for p in learned if id(p) in inside),
        blocks=len(blocks),
        reduced_bytes=reduced_bytes,
        reductions=reductions,
    )


# --- the parts


def speed(out: Path, turns: int) -> dict[str, Any]:
    """Return frames a second in turns, and what the model of step time says of them."""
    recipe, _ = recipe_of(out)
    batch, steps = recipe.batch_size, 4
    alone = [Workers(out, 1, 0), Workers(out, 1, 0)]
    pair = Workers(out, 2, free_port())
    work = Exchanged(**pair.do("exchanged")[0])
    phases: dict[str, Callable[[], dict[str, float]]] = {
        "one": lambda: measured(alone[:1], batch, "ddp", steps),
        "two_apart": lambda: measured(alone, batch, "ddp", steps),
        "two_apart_half": lambda: measured(alone, batch // 2, "ddp", steps),
        "ddp_strong": lambda: measured([pair], batch, "ddp", steps),
        "ddp_weak": lambda: measured([pair], 2 * batch, "ddp", steps),
        "fsdp_weak": lambda: measured([pair], 2 * batch, "fsdp", steps),
        "all_reduce": lambda: reductions(pair, work.parameters),
        "all_reduce_of_1": lambda: reductions(pair, 1),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in phases}
    for turn in range(-1, turns):
        order = [*phases][turn % len(phases) :] + [*phases][: turn % len(phases)]
        for name in order:
            value = phases[name]()
            if turn >= 0:  # the first turn warms up
                found[name].append(value | {"load": round(os.getloadavg()[0], 2)})
        if turn >= 0:
            say(f"turn {turn + 1} of {turns}: " + shown(found))
    for workers in (*alone, pair):
        workers.end()
    frames = {"one": batch, "two_apart": 2 * batch, "ddp_strong": batch}
    frames |= {"ddp_weak": 2 * batch, "fsdp_weak": 2 * batch}
    rates = {
        name: [clips * recipe.clip_length / one["step_s"] for one in found[name]]
        for name, clips in frames.items()
    }
    ratios = {
        name: spread([a / b for a, b in zip(rates[name], rates["one"], strict=True)])
        for name in frames
        if name != "one"
    }
    return {
        "threads_per_process": 1,
        "batch_size": batch,
        "clip_length": recipe.clip_length,
        "turns": turns,
        "steps_per_turn": steps,
        "frames_per_s": {name: round(statistics.median(each), 1) for name, each in rates.items()},
        "over_one_process": ratios,
        "of_two_apart": {
            name: spread([a / b for a, b in zip(rates[name], rates["two_apart"], strict=True)])
            for name in ("ddp_weak", "fsdp_weak")
        },
        "processor_s_per_1000_frames": {
            name: round(
                statistics.median(
                    1000 * one["processor_s"] / (clips * recipe.clip_length) for one in found[name]
                ),
                4,
            )
            for name, clips in frames.items()
        },
        "model": checked_model(found, work),
        "each": found,
    }


def measured(groups: list[Workers], batch: int, parallel: str, steps: int) -> dict[str, float]:
    """Return seconds of a step, the slowest process's, and bytes over the loopback a step."""
    before = loopback_bytes()
    for group in groups:
        group.ask("steps", batch, parallel, steps)
    answers = [one for group in groups for one in group.answers()]
    return {
        "step_s": max(one["step_s"] for one in answers),
        "processor_s": sum(one["processor_s"] for one in answers),
        "loopback_bytes": (loopback_bytes() - before) / steps,
    }


def reductions(pair: Workers, count: int) -> dict[str, float]:
    """Return seconds of an all-reduce."""
    return {"seconds": max(one["seconds"] for one in pair.do("reduce", count, 20))}


def checked_model(found: dict[str, list[dict[str, float]]], work: Exchanged) -> dict[str, Any]:
    """Return what the model says of two processes that train together, beside the measurement."""

    def middle(name: str, field: str = "step_s") -> float:
        return statistics.median(one[field] for one in found[name])

    small, large = middle("all_reduce_of_1", "seconds"), middle("all_reduce", "seconds")
    sent = 4 * work.parameters  # 2 (n-1)/n of them, and n is 2
    link = Link(small / 2, sent / max(large - small, 1e-9))
    said = {}
    for name, parallel, compute in (
        ("ddp_strong", "ddp", "two_apart_half"),
        ("ddp_weak", "ddp", "two_apart"),
        ("fsdp_weak", "fsdp", "two_apart"),
    ):
        predicted = step_seconds(middle(compute), work, 2, parallel, link)
        traffic = 2 * sent_bytes(work, 2, parallel)  # of both processes
        counted = middle(name, "loopback_bytes")
        said[name] = {
            "predicted_step_s": round(predicted, 4),
            "measured_step_s": round(middle(name), 4),
            "predicted_over_measured": round(predicted / middle(name), 3),
            "within_20_percent": abs(predicted / middle(name) - 1) <= 0.2,
            "predicted_bytes": round(traffic),
            "measured_bytes": round(counted),
            "bytes_predicted_over_measured": round(traffic / max(counted, 1), 3),
        }
    return {"exchanged": asdict(work), "link": asdict(link), "checked": said}


def losses(out: Path) -> dict[str, Any]:
    """Return how far losses are apart between ways to train the same."""
    ran = {
        "ddp": [{"processes": 2, "parallel": "ddp"}],
        "fsdp": [{"processes": 2, "parallel": "fsdp"}],
        "fsdp_resumed": [
            {"processes": 2, "parallel": "fsdp", "stop": EVERY + 1},
            {"processes": 2, "parallel": "fsdp"},
        ],
        "fsdp_2_1_3": [
            {"processes": 2, "parallel": "fsdp", "stop": EVERY + 1},
            {"processes": 1, "parallel": "fsdp", "stop": 2 * EVERY + 1},
            {"processes": 3, "parallel": "fsdp"},
        ],
        "ddp_2_1_3": [
            {"processes": 2, "parallel": "ddp", "stop": EVERY + 1},
            {"processes": 1, "parallel": "ddp", "stop": 2 * EVERY + 1},
            {"processes": 3, "parallel": "ddp"},
        ],
    }
    logs: dict[str, list[float]] = {}
    for name, attempts in ran.items():
        shutil.rmtree(out / name, ignore_errors=True)
        for number, asked in enumerate(attempts):
            settings = {"run": name, "steps": STEPS, "resume": number > 0} | asked
            torchrun(out, settings, int(asked["processes"]), stops="stop" in asked)
        logs[name] = logged(out / name)
        say(f"{name}: {logs[name]}")
    return {
        "steps": STEPS,
        "precision": "float32",
        "losses": logs,
        "largest_relative_difference": {
            "fsdp_from_ddp": apart(logs["fsdp"], logs["ddp"]),
            "fsdp_resumed_from_fsdp": apart(logs["fsdp_resumed"], logs["fsdp"]),
            "fsdp_2_1_3_from_fsdp": apart(logs["fsdp_2_1_3"], logs["fsdp"]),
            "ddp_2_1_3_from_ddp": apart(logs["ddp_2_1_3"], logs["ddp"]),
        },
        "fsdp_resumed_same_bits": digest(out / "fsdp_resumed") == digest(out / "fsdp"),
    }


def saving(out: Path, extent: Extent) -> dict[str, Any]:
    """Return how long a checkpoint of shards stops training, and how long it takes."""
    shutil.rmtree(out / "saving", ignore_errors=True)
    pair = Workers(out, 2, free_port())
    answers = pair.do("save", extent.saved, extent.saves)
    pair.end()
    return answers[0]


def timed_saves(out: Path, size: str, times: int, processes: Any) -> dict[str, Any]:
    """Save a model of a size: at once, and while a step is taken."""
    recipe, clips = sized(out, size)
    stepper = made(recipe, clips, processes, "fsdp")
    stepper.step(0)
    folder = out / "saving"
    found: dict[str, list[float]] = {"pause_s": [], "written_s": [], "step_s": [], "beside_s": []}
    with Saves(folder, stepper, "") as saves:
        for turn in range(times):
            begun = time.perf_counter()
            stepper.step(1)
            found["step_s"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            saves.save(2 * turn)
            saves.wait()
            processes.wait()
            found["written_s"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            saves.save(2 * turn + 1)
            found["pause_s"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            stepper.step(1)
            found["beside_s"].append(time.perf_counter() - begun)
            saves.wait()
    size_bytes = sum(
        f.stat().st_size for f in (folder / "checkpoints/last/").rglob("*.safetensors")
    )
    return {
        "model": size,
        "checkpoint_bytes": size_bytes,
        "turns": times,
        "pause_s": spread(found["pause_s"]),
        "written_at_once_s": spread(found["written_s"]),
        "pause_over_written": round(
            statistics.median(found["pause_s"]) / statistics.median(found["written_s"]), 3
        ),
        "step_s": spread(found["step_s"]),
        "step_while_written_s": spread(found["beside_s"]),
    }


def elastic(out: Path) -> dict[str, Any]:
    """Kill one of two processes under torchrun, twice, and compare the weights in the end."""
    found: dict[str, Any] = {}
    for parallel in ("ddp", "fsdp"):
        settings = {"parallel": parallel, "steps": ELASTIC_STEPS, "resume": True}
        whole, killed = f"elastic_{parallel}", f"elastic_{parallel}_killed"
        for name in (whole, killed):
            shutil.rmtree(out / name, ignore_errors=True)
        torchrun(out, settings | {"run": whole}, 2)
        begun = time.perf_counter()
        running = started(out, settings | {"run": killed, "pause_s": 0.2}, 2, restarts=2)
        kills = []
        for restart, (rank, at) in enumerate(((1, 7), (0, 15))):
            process = wait_for_pid(out / killed, rank, restart, running)
            while len(logged(out / killed)) < at:
                if running.poll() is not None:
                    raise SystemExit(f"{killed}: ended before it could be killed.")
                time.sleep(0.01)
            os.kill(process, signal.SIGKILL)
            kills.append({"rank": rank, "after_step": len(logged(out / killed))})
            say(f"{killed}: SIGKILL of rank {rank} after step {kills[-1]['after_step']}")
        if running.wait() != 0:
            raise SystemExit(f"{killed}: torchrun ended with {running.returncode}.")
        found[parallel] = {
            "kills": kills,
            "restarts": len([*(out / killed / "pids").glob("*_0")]) - 1,
            "seconds": round(time.perf_counter() - begun, 1),
            "steps_logged": len(logged(out / killed)),
            "sha256": digest(out / killed),
            "sha256_uninterrupted": digest(out / whole),
            "identical": digest(out / killed) == digest(out / whole),
        }
    return {"steps": ELASTIC_STEPS, "checkpoint_every": EVERY, **found}


def computed(out: Path, extent: Extent) -> dict[str, Any]:
    """Return what the model says of GPUs, from what is counted here."""
    path = out / "parts" / "counted.json"
    counts: dict[str, Any] = read_json(path) if path.is_file() else {}
    torch.set_num_threads(core_count())  # nothing is timed
    usual, _ = recipe_of(out)
    for size in extent.counted:
        if size not in counts:
            counts[size] = counted_of(out, size, usual)
            write_json(path, counts)
        say(f"{size}: {json.dumps(counts[size])}")
    frames = RECORDED_HOURS * 3600 * MODEL_STEPS_PER_S * world().passes
    return {
        "measured": False,
        "assumed": {
            "peak_flops": PEAK_FLOPS,
            "utilisation": UTILISATION,
            "gpu_bytes": GPU_BYTES,
            "gpus_per_node": NODE,
            "inside_a_node": asdict(INSIDE),
            "between_nodes": asdict(BETWEEN),
            "frames_per_gpu_and_step": FRAMES_PER_GPU,
            "overlap": "none",
            "recorded_hours": RECORDED_HOURS,
            "model_steps_per_s": MODEL_STEPS_PER_S,
            "passes": world().passes,
            "frames_of_a_run": frames,
            "fine_tuning": finetuning_of(usual),
        },
        "counted": counts,
        "table": [
            row(size, counts[size], parallel, gpus, frames, finetuning_of(usual))
            for size in counts
            for parallel in ("ddp", "fsdp")
            for gpus in GPUS
        ],
    }


def finetuning_of(recipe: Recipe) -> dict[str, int]:
    """Return how much the longest fine-tuning of a recipe takes: it has a bound of its own."""
    own, usual = recipe.settling, world().settling
    return {
        "updates": usual.steps,
        "clips_per_update": own.batch_size or round(recipe.batch_size / own.starts),
        "clips_encoded": usual.clips,
        "clip_length": own.clip_length or recipe.clip_length,
    }


def row(
    size: str,
    counts: dict[str, Any],
    parallel: Literal["ddp", "fsdp"],
    gpus: int,
    frames: float,
    finetuning: dict[str, int],
) -> dict[str, Any]:
    """Return what the model says of some GPUs.

    Where a GPU cannot hold the activations, its clips are taken in parts, and the encoder's forward
    pass runs twice (``--compute.gradient-accumulation``).
    """
    work, flops_per_s = Exchanged(**counts["exchanged"]), PEAK_FLOPS * UTILISATION
    state = state_bytes(work.parameters, gpus, parallel, average=True)
    activations = FRAMES_PER_GPU * counts["activation_bytes_per_frame"]
    parts = 1
    while state + activations / parts > GPU_BYTES:
        parts *= 2
    again = counts["encoding_operations_per_frame"] if parts > 1 else 0.0
    compute_s = FRAMES_PER_GPU * (counts["operations_per_frame"] + again) / flops_per_s
    link = INSIDE if gpus <= NODE else BETWEEN
    step_s = step_seconds(compute_s, work, gpus, parallel, link)
    encoded = finetuning["clips_encoded"] * finetuning["clip_length"]
    updated = finetuning["updates"] * finetuning["clips_per_update"]
    alone_s = (
        encoded * counts["encoding_operations_per_frame"]
        + updated * counts["fine_tuning_operations_per_clip"]
    ) / flops_per_s
    together = gpus * FRAMES_PER_GPU
    return {
        "size": size,
        "parallel": parallel,
        "gpus": gpus,
        "frames_per_s": round(together / step_s),
        "efficiency": round(compute_s / step_s, 3),
        "sent_mb_per_step": round(sent_bytes(work, gpus, parallel) / 1e6, 1),
        "state_gb_per_gpu": round(state / 1e9, 3),
        "activations_gb_per_gpu": round(activations / parts / 1e9, 1),
        "parts": parts,
        "gpu_hours_per_100m_frames": round(gpus * run_hours(step_s, together, 1e8, 0), 2),
        "run_hours": round(run_hours(step_s, together, frames, alone_s), 3),
        "gpu_hours_of_a_run": round(gpus * run_hours(step_s, together, frames, alone_s), 2),
        "of_them_fine_tuning": round(gpus * alone_s / 3600, 2),
    }


def counted_of(out: Path, size: str, usual: Recipe) -> dict[str, Any]:
    """Return what a size computes, exchanges and keeps, counted on clips of eight steps."""
    recipe, clips = sized(out, size)
    learner_only = replace(recipe, ema_decay=0.0, precision="float32")
    with join_processes() as processes:
        stepper = made(learner_only, clips, processes)
        sizes: list[int] = []

        def counted(value: torch.Tensor) -> torch.Tensor:
            sizes.append(value.numel() * value.element_size())
            return value

        batch = stepper.batch(0)

        def learn() -> None:
            terms, _ = stepper.learner(batch, 0)
            sum(terms.values(), torch.zeros(())).backward()

        @torch.no_grad()
        def encode() -> None:
            stepper.model.encode(clips.gather(np.arange(1)))

        from armillary.objectives import moments

        # one process sums nothing, but asks; what has a gradient is summed again on the way back
        with patch.object(moments, "process_count", lambda: 2), patched_sums(counted):
            flops = count_flops(learn)
        work = counted_work(stepper, sum(sizes), len(sizes))
        # the weights' copies in bfloat16 are kept once, so the bytes of a clip are a difference
        kept = [saved_bytes(stepper, clips.gather(np.arange(count))) for count in (1, 2)]
        stepper.optimizer.zero_grad()
        return {
            "operations_per_frame": flops / (recipe.batch_size * recipe.clip_length),
            "encoding_operations_per_frame": count_flops(encode) / recipe.clip_length,
            "fine_tuning_operations_per_clip": finetuning_flops(stepper.model, usual),
            "activation_bytes_per_frame": (kept[1] - kept[0]) / recipe.clip_length,
            "exchanged": asdict(work),
        }


def saved_bytes(stepper: Stepper, batch: Batch) -> int:
    """Return the bytes that a forward pass in bfloat16 keeps for the backward pass."""
    kept: dict[int, torch.UntypedStorage] = {}  # by place; held, so that no place is used twice

    def keep(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        kept[storage.data_ptr()] = storage
        return value

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value),
        torch.autocast("cpu", torch.bfloat16),
    ):
        stepper.learner(batch, 0)
    return sum(storage.nbytes() for storage in kept.values())


def finetuning_flops(model: JEPA, usual: Recipe) -> int:
    """Return the operations of an update of the fine-tuning, for one clip.

    The starts are the last ones of the clip, so that the memory of nearly all its steps is needed,
    as for starts that are drawn.
    """
    own, of = usual.settling, model.config
    length = own.clip_length or usual.clip_length
    latents = torch.zeros(1, length, of.encoder.tokens * of.encoder.width)
    actions = torch.zeros(1, length - 1, of.action_width)
    order = torch.arange(length - own.rollout_steps).flip(0)
    starts = some_starts(order, own.starts)
    model.requires_grad_(False)
    model.predictor.requires_grad_(True)

    def update() -> None:
        ahead = predict_from_each(model, latents, actions, own.rollout_steps, None, starts)
        ahead.square().mean().backward()

    return count_flops(update)


def patched_sums(counted: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return a patch under which sums over processes are counted and not taken."""
    return patch.multiple(
        dist, all_reduce=lambda value, *_, **__: counted(value), get_rank=lambda *_: 0
    )


# --- runs of the whole loop


def attempt(out: Path, asked: dict[str, Any]) -> None:
    """Train, as one process of several: to the end, or until some step is to begin."""
    rank, restart = os.environ["RANK"], os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    pids = out / asked["run"] / "pids"
    pids.mkdir(parents=True, exist_ok=True)
    (pids / f"{restart}_{rank}").write_text(str(os.getpid()))
    usual = world()
    recipe = replace(
        usual,
        settling=replace(usual.settling, steps=0),
        # each process draws for its own clips, so other processes would draw otherwise
        augment=replace(usual.augment, shift_px=0),
        steps=asked["steps"],
        passes=0.0,
        batch_size=12,
        clip_length=8,
        precision="float32",
        log_every=1,
        eval_every=1000,
        checkpoint_every=EVERY,
        threads=1,
    )
    step, stop, pause = Stepper.step, asked.get("stop"), asked.get("pause_s", 0.0)

    def stepped(self: Stepper, number: int, *more: Any) -> Any:
        if number == stop:
            raise KeyboardInterrupt  # in all processes at once
        time.sleep(pause)
        return step(self, number, *more)

    compute = ComputeConfig(parallel=asked["parallel"])
    with patch.object(Stepper, "step", stepped):
        try:
            train_recipe(
                *(recipe, out / "data", out / asked["run"], asked["resume"]),
                diagnosed=False,
                acting=False,
                compute=compute,
            )
        except KeyboardInterrupt:
            say(f"stopped before step {stop}")
            # at once: one interrupted attempt was once aborted while Python ended, with
            # "terminate called" by a thread of gloo (torch 2.13), when all was written
            os._exit(0)


def torchrun(out: Path, settings: dict[str, Any], processes: int, stops: bool = False) -> None:
    """Train in processes of torchrun and wait for their end."""
    code = started(out, settings, processes).wait()
    if code:
        raise SystemExit(f"{settings['run']}: torchrun ended with {code}.")


def started(
    out: Path, settings: dict[str, Any], processes: int, restarts: int = 0
) -> subprocess.Popen[bytes]:
    """Begin to train in processes of torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
    command += [str(Path(__file__).resolve()), "--out", str(out), "--attempt", json.dumps(settings)]
    with (out / f"{settings['run']}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def wait_for_pid(run: Path, rank: int, restart: int, running: subprocess.Popen[bytes]) -> int:
    """Return the number of a process as soon as it has begun."""
    path = run / "pids" / f"{restart}_{rank}"
    while not (path.is_file() and path.read_text()):
        if running.poll() is not None:
            raise SystemExit(f"{run}: torchrun ended with {running.returncode}.")
        time.sleep(0.05)
    return int(path.read_text())


def logged(run: Path) -> list[float]:
    """Return the losses that stand in a run's log."""
    log = run / "log.jsonl"
    entries = read_log(log) if log.is_file() else []
    return [entry["train/loss"] for entry in entries if "train/loss" in entry]


def digest(run: Path) -> str:
    """Return the SHA-256 of a run's final weights and scales."""
    parts = [(run / "model" / name).read_bytes() for name in TENSORS]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def apart(one: list[float], other: list[float]) -> float:
    """Return the largest relative difference of two series of equal length."""
    if len(one) != STEPS or len(other) != STEPS:
        raise SystemExit(f"{len(one)} and {len(other)} losses were logged of {STEPS}.")
    return float(np.max(np.abs(np.array(one) / np.array(other) - 1)))


def spread(values: list[float]) -> dict[str, Any]:
    """Return median and quartiles, and how many values they are of."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {
        "median": round(float(middle), 4),
        "quartiles": [round(float(low), 4), round(float(high), 4)],
        "n": len(values),
    }


def shown(found: dict[str, list[dict[str, float]]]) -> str:
    """Return the last step times as words."""
    last = {name: each[-1] for name, each in found.items()}
    return ", ".join(
        f"{name} {one.get('step_s', one.get('seconds', 0)):.3f} s" for name, one in last.items()
    )


def loopback_bytes() -> int:
    """Return how many bytes this machine has sent to itself."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(numbers.split()[8])
    return 0


def free_port() -> int:
    """Return a port that nobody listens on."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def say(text: str) -> None:
    """Print a line now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Ingest the sample of BridgeData v2, read it with LeRobot, train on it: results/bridge.json.

    python scripts/measure_bridge.py SAMPLE LEROBOT_PYTHON [--held-out 0.2]

SAMPLE is ``bridge_v2_25_episodes.tfrecord``, with its ``bridge_v2_features.json`` beside it.
LEROBOT_PYTHON is the python of an environment with ``lerobot==0.4.4``, as
``scripts/check_lerobot_reader.py`` says how to make; it may be a command of several words, such as
``env LD_LIBRARY_PATH=lr/ffmpeg lr/bin/python``. LeRobot opens the dataset that armillary wrote, and
returns every step. Its numbers are compared with those that armillary reads, to the bit. Its
pictures are compared with PyAV's, to the bit too: both decode the kept JPEG with FFmpeg. How far
armillary's own pictures are from these is written down as light and colour: its decoder smooths
the colours that JPEG keeps at half the resolution, as OpenCV does, and FFmpeg repeats them. What
armillary reads of the sample is compared with plain decoders in ``tests/data/test_rlds.py``.

Training is the recipe ``world`` as it is, on one thread, with a larger share held out: of 25
episodes, a tenth would be two. With fewer than eight, the diagnosis gives the latent no weight in
frozen features; ``--held-out 0.32`` holds out eight.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from armillary.benchmark.machine import provenance
from armillary.core.files import write_json
from armillary.core.hashing import file_sha256
from armillary.data import Dataset, open_dataset, verify

FPS, LICENSE = 5, "CC-BY-4.0"
LIGHT = (0.299, 0.587, 0.114)  # of red, green and blue in JPEG's luminance
READ = """
import json, sys
import numpy as np
import lerobot
from lerobot.datasets.lerobot_dataset import LeRobotDataset
dataset = LeRobotDataset("local/bridge", root=sys.argv[1])
items = [dataset[index] for index in range(len(dataset))]
cameras = list(dataset.meta.camera_keys)
numbers = {key: np.stack([item[key].numpy() for item in items])
           for key in ("observation.state", "action", "timestamp", "frame_index", "episode_index")}
for camera in cameras:
    pictures = np.stack([item[camera].numpy() for item in items])
    numbers[camera] = np.round(pictures * 255).astype(np.uint8).transpose(0, 2, 3, 1)
np.savez(sys.argv[2], **numbers)
print(json.dumps({
    "version": lerobot.__version__, "video_backend": dataset.video_backend,
    "episodes": dataset.num_episodes, "steps": len(items), "fps": dataset.fps,
    "cameras": cameras, "tasks": [item["task"] for item in items],
}))
"""


def run(words: Sequence[str | Path]) -> str:
    """Run a program on one thread and return what it prints.

    Raises:
        RuntimeError: it failed; with its last lines.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed: {done.stderr[-2000:]}")
    return done.stdout


def armillary(command: str) -> dict[str, Any]:
    """Return what an armillary command says with ``--json``."""
    words = [sys.executable, "-m", "armillary", *shlex.split(command), "--json"]
    return json.loads(run(words).splitlines()[-1])


def counted(dataset: Dataset) -> dict[str, Any]:
    """Return what arrived."""
    episode = dataset.read(0)
    assert episode.actions is not None
    lengths, tasks = dataset.lengths.tolist(), Counter(one.task for one in dataset)
    return {
        "episodes": len(dataset),
        "steps": sum(lengths),
        "steps_of_an_episode": sorted(set(lengths)),
        "fps": dataset.fps,
        "cameras": {name: list(episode.streams[name].values.shape[1:]) for name in dataset.cameras},
        "state": episode.streams["proprio"].values.shape[1],
        "action": episode.actions.shape[1],
        "instructions": dict(sorted(tasks.items())),
        "verified": verify(dataset.path).ok,
    }


def read_by_lerobot(python: Sequence[str], dataset: Dataset, work: Path) -> dict[str, Any]:
    """Return what LeRobot's reader gives, and how far it is from what armillary reads."""
    told = json.loads(run([*python, "-c", READ, dataset.path, work / "read.npz"]).splitlines()[-1])
    read = np.load(work / "read.npz")
    episodes = list(dataset)
    has_action = np.concatenate([np.arange(len(one)) < len(one) - 1 for one in episodes])
    own = {"state": np.concatenate([one.streams["proprio"].values for one in episodes])}
    own["action"] = np.concatenate([one.actions for one in episodes if one.actions is not None])
    theirs = {"state": read["observation.state"], "action": read["action"][has_action]}
    steps = np.concatenate([np.arange(len(one)) for one in episodes])
    index = np.repeat(np.arange(len(episodes)), [len(one) for one in episodes])
    tasks = [episodes[number].task for number in index]
    pictures = {}
    for camera in told["cameras"]:
        name = camera.removeprefix("observation.images.")
        seen = np.concatenate([one.streams[name].values for one in episodes])
        away = seen.astype(np.float64) - read[camera]
        light = away @ LIGHT
        pictures[name] = {
            "equal_to_pyav": bool(np.array_equal(read[camera], plain_pictures(dataset, camera))),
            "light": spread(light),
            "colour": spread(away - light[..., None]),
        }
    return {
        **{name: told[name] for name in ("version", "video_backend", "episodes", "steps", "fps")},
        "cameras": len(told["cameras"]),
        "equal": {
            **{name: bool(np.array_equal(own[name], theirs[name])) for name in own},
            "episode_and_step": bool(
                np.array_equal(read["episode_index"], index)
                and np.array_equal(read["frame_index"], steps)
            ),
            "time": bool(np.allclose(read["timestamp"], steps / FPS, atol=1e-6)),
            "instruction": told["tasks"] == tasks,
        },
        "pictures": pictures,
    }


def plain_pictures(dataset: Dataset, camera: str) -> np.ndarray:
    """Return the pictures of all episodes as PyAV decodes their files."""
    files = sorted((dataset.path / "videos" / camera).rglob("*.mp4"))
    found = []
    for file in files:
        with av.open(str(file)) as opened:
            found += [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    return np.stack(found)


def spread(away: np.ndarray) -> dict[str, float]:
    """Return mean and greatest difference, in grey levels."""
    away = np.abs(away)
    return {"mean": round(float(away.mean()), 3), "greatest": round(float(away.max()), 3)}


def judged(diagnosis: dict[str, Any]) -> dict[str, Any]:
    """Return the errors of predictions, and the measures with their bars."""
    rows = [
        {name: row[name] for name in ("space", "steps", "n")}
        | {name: round(v, 4) for name, v in row.items() if isinstance(v, float)}
        | {"margin_interval": [round(v, 4) for v in row["intervals"]["margin"]]}
        for row in diagnosis["prediction"]
    ]
    names = ("name", "value", "interval", "beside", "bar", "held", "n")
    lines = [{name: line[name] for name in names} for line in diagnosis["lines"]]
    return {"judged_on": diagnosis["n"]["judged_on"], "prediction": rows, "measures": lines}


def trained(said: dict[str, Any]) -> dict[str, Any]:
    """Return what a training says of itself, without its short diagnosis."""
    names = ("steps", "seconds", "frames_per_s", "loss", "held_out", "warnings")
    return {name: said[name] for name in names} | {"goal_policy_r2": said["goal_policy"]["r2"]}


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sample", type=Path)
    parser.add_argument("lerobot_python")
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--work", type=Path, help="an empty folder, kept; else a temporary one")
    parser.add_argument("--record", type=Path, default=Path("results/bridge.json"))
    given = parser.parse_args()
    origin = provenance(shlex.join(["python", *sys.argv]), 1)
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        data, model = shlex.quote(str(work / "data")), shlex.quote(str(work / "run"))
        sample = shlex.quote(str(given.sample))
        ingested = armillary(f"ingest {sample} --fps {FPS} --license {LICENSE} --out {data}")
        dataset = open_dataset(work / "data")
        training = f"train world --data {data} --out {model} --threads 1 --seed 0"
        value = {
            "sample_sha256": file_sha256(given.sample),
            "ingested": counted(dataset) | {"notes": ingested["notes"]},
            "lerobot": read_by_lerobot(shlex.split(given.lerobot_python), dataset, work),
            "trained": trained(armillary(f"{training} --held-out {given.held_out}")),
            "diagnosed": judged(armillary(f"diagnose {model} {data}")),
        }
    write_json(given.record, value | origin)
    sys.stdout.write(f"{json.dumps(value, indent=2)}\n")


if __name__ == "__main__":
    main()

"""Understanding, asked by others: a published benchmark from a folder on this machine.

said.jsonl      mean and largest surprise come from here: every step of every clip
answer.txt      IntPhys's submission file, for clips whose label is a secret
result.json     rows by concept, by the published rule and by ours
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from armillary.benchmark.machine import provenance
from armillary.core.errors import ConfigError, ShapeError, unknown_name
from armillary.core.files import replacing, storage_errors, write_json
from armillary.core.progress import Bars, no_bars
from armillary.models import load_model
from armillary.understanding.suites.benchmarks import LAYOUTS, Movie, benchmark_rows, submission
from armillary.understanding.suites.quadruplets import CONTROLS, JepaJudges, Judges
from armillary.understanding.suites.quadruplets.judges import Frames, Pans, Surprise
from armillary.understanding.suites.quadruplets.pretrained import PretrainedPanel, is_pretrained
from armillary.zoo.finding import find_model

# every so manieth picture, as V-JEPA's evaluation has it where it says so; never chosen on labels
_CONTROLS = ("copy_last_pixels", "motion_energy", "coin")
FRAME_STEP = {"intphys": 2, "intphys2": 10, "grasp": 10, "inflevel": 5, "physical_concepts": 1}


def understand_benchmark(
    model: str | Path,
    suite: str,
    data: Path,
    out: Path,
    bars: Bars = no_bars,
    command: str = "",
) -> dict[str, Any]:
    """Ask a model a published benchmark.

    Args:
        model: of pictures without actions that matter, or a folder of V-JEPA 2 or VideoMAE.
        suite: a key of ``LAYOUTS``.
        data: its folder.
        out: folder for the results.
        bars: makes a progress bar for a stage.
        command: that makes these numbers again.

    Returns:
        What ``result.json`` holds.

    Raises:
        ConfigError: an unknown suite.
        FormatError: the folder does not have its layout.
        CheckpointError: not a model.
        ShapeError: a model that needs more than pictures.
        StorageError: ``out`` cannot be written.
    """
    if suite not in LAYOUTS:
        raise unknown_name("suite", suite, [*LAYOUTS, "quadruplets"])
    if not data.is_dir():
        raise ConfigError(f"--data: {data} is not a folder; give the benchmark's own.")
    movies = LAYOUTS[suite](data)
    panel, size = _panel(model)
    said: dict[str, dict[str, np.ndarray]] = {}
    frames: dict[str, tuple[bytes, ...]] = {}
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with bars(suite) as progress, replacing(out / "said.jsonl") as beside, beside.open("w") as file:
        for place, movie in enumerate(movies):
            clip = _clip(movie, size, FRAME_STEP[suite])
            frames[movie.id] = tuple(hashlib.sha256(one.tobytes()).digest() for one in clip)
            pans = np.zeros((1, len(clip) - 1, panel.width), np.float32)
            surprise = {name: rows[0] for name, rows in panel(clip[None], pans).items()}
            for name, values in surprise.items():
                said.setdefault(name, {})[movie.id] = values
            digits = {n: [float(f"{v:.9g}") for v in vs.tolist()] for n, vs in surprise.items()}
            file.write(json.dumps({"id": movie.id, "surprise": digits}) + "\n")
            progress(place + 1, len(movies), movie.id)
    secret = [movie for movie in movies if movie.possible is None]
    if suite == "intphys" and secret:
        with replacing(out / "answer.txt") as beside:
            beside.write_text(submission(secret, said["model"]))
    result = {
        "suite": suite,
        "clips": len(movies),
        "without_label": len(secret),
        "frame_step": FRAME_STEP[suite],
        "concepts": benchmark_rows(movies, said["model"], frames),
        "controls": {
            name: benchmark_rows(movies, values, frames)
            for name, values in said.items()
            if name != "model"
        },
        **provenance(command, 1),
    }
    write_json(out / "result.json", result)
    return result


@dataclass(frozen=True)
class _Panel:
    """The judges of one clip at a time, and how many numbers a camera move has for them."""

    judges: tuple[Callable[[Frames, Pans], dict[str, Surprise]], ...]
    width: int

    def __call__(self, frames: Frames, pans: np.ndarray) -> dict[str, Surprise]:
        return {name: said for one in self.judges for name, said in one(frames, pans).items()}


def _panel(model: str | Path) -> tuple[_Panel, int]:
    """Return who judges, and the side of the pictures that they are given."""
    controls = Judges({name: CONTROLS[name] for name in _CONTROLS})
    if is_pretrained(Path(model)):
        return _Panel((PretrainedPanel(Path(model))(), controls), 2), 256
    loaded = load_model(find_model(model))
    if tuple(loaded.config.sensors) != ("rgb",):
        raise ShapeError(
            f"Benchmarks are pictures; the model sees {', '.join(loaded.config.sensors)}."
        )
    own, width = JepaJudges(loaded, views=("model", "copy_last")), loaded.config.action_width
    return _Panel((own, controls), width), loaded.config.encoder.image_size


def _clip(movie: Movie, size: int, step: int) -> UInt8[np.ndarray, "T H W 3"]:
    frames = movie.frames(size, step)
    frames = frames[: len(frames) - len(frames) % 2]  # tubelets are of two
    if len(frames) < 4:
        raise ShapeError(f"{movie.path}: leaves {len(frames)} pictures, 4 are needed.")
    return frames

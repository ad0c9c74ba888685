"""Understanding, asked by others: a published benchmark from a folder on this machine.

said.jsonl      mean and largest surprise come from here: every step of every clip
answer.txt      IntPhys's submission file, for clips whose label is a secret
result.json     rows by concept, by the published rule and by ours
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from armillary.benchmark.machine import date, describe_machine
from armillary.comprehension.benchmarks import LAYOUTS, Movie, benchmark_rows, submission
from armillary.comprehension.quadruplets import JepaJudges
from armillary.comprehension.quadruplets.judges import Frames, Pans, Surprise
from armillary.comprehension.quadruplets.pretrained import PretrainedPanel, is_pretrained
from armillary.core.errors import ConfigError, ShapeError, unknown_name
from armillary.core.files import replacing, storage_errors, write_json
from armillary.core.progress import Progress, silent
from armillary.models import load_model
from armillary.recipes.finding import find_model

Bars = Callable[[str], AbstractContextManager[Progress]]
# every so manieth picture, as V-JEPA's evaluation has it where it says so; never chosen on labels
FRAME_STEP = {"intphys": 2, "intphys2": 10, "grasp": 10, "inflevel": 5, "physical_concepts": 1}


def understand_benchmark(
    model: str | Path,
    suite: str,
    data: Path,
    out: Path,
    bars: Bars = lambda _: nullcontext(silent),
    command: str = "",
) -> dict[str, Any]:
    """Ask a model a published benchmark.

    Args:
        model: of pictures without actions that matter, or a folder of V-JEPA 2 or VideoMAE.
        suite: a key of ``LAYOUTS``.
        data: its folder.
        out: folder for what came of it.
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
    said: dict[str, np.ndarray] = {}
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with bars(suite) as progress, replacing(out / "said.jsonl") as beside, beside.open("w") as file:
        for place, movie in enumerate(movies):
            said[movie.id] = _judged(panel, movie, size, FRAME_STEP[suite])
            values = [float(f"{v:.9g}") for v in said[movie.id].tolist()]
            file.write(json.dumps({"id": movie.id, "surprise": values}) + "\n")
            progress(place + 1, len(movies), movie.id)
    secret = [movie for movie in movies if movie.possible is None]
    if suite == "intphys" and secret:
        with replacing(out / "answer.txt") as beside:
            beside.write_text(submission(secret, said))
    result = {
        "suite": suite,
        "clips": len(movies),
        "without_label": len(secret),
        "frame_step": FRAME_STEP[suite],
        "concepts": benchmark_rows(movies, said),
        "machine": describe_machine(1),
        "date": date(),
        "command": command,
    }
    write_json(out / "result.json", result)
    return result


def _panel(model: str | Path) -> tuple[Callable[[Frames, Pans], dict[str, Surprise]], int]:
    """Return what judges, and the side of the pictures that it is given."""
    if is_pretrained(Path(model)):
        return PretrainedPanel(Path(model))(), 256
    loaded = load_model(find_model(model))
    if tuple(loaded.config.sensors) != ("rgb",):
        raise ShapeError(
            f"Benchmarks are pictures; the model sees {', '.join(loaded.config.sensors)}."
        )
    return JepaJudges(loaded), loaded.config.encoder.image_size


def _judged(
    panel: Callable[[Frames, Pans], dict[str, Surprise]], movie: Movie, size: int, step: int
) -> Float32[np.ndarray, " steps"]:
    frames = movie.frames(size, step)
    frames = frames[: len(frames) - len(frames) % 2]  # tubelets are of two
    if len(frames) < 4:
        raise ShapeError(f"{movie.path}: leaves {len(frames)} pictures, 4 are needed.")
    pans = np.zeros((1, len(frames) - 1, 2), np.float32)
    return panel(frames[None], pans)["model"][0]

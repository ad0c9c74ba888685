"""Teaching: attacks on training data: the test in it, to the bit or nearly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageFilter

from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter, open_dataset
from armillary.proof.attack.forge import Forge
from armillary.proof.attack.plan import STATIC, Attack, Planted
from armillary.proof.attack.stage import Stage
from armillary.proof.data_manifest import data_digest, write_data_manifest
from armillary.proof.footage import Footage, evaluation_footage
from armillary.worlds import record

_HONEST, _STOLEN, _DRAWS = 16, 4, 100


def recorded(stage: Stage) -> Path:
    """Return an honest recording of the suite's world; made once per stage."""
    path, task = stage.folder / "recording", stage.suite.tasks[0]
    if not path.exists():
        settings = {"image_size": task.settings["image_size"], "split": "train"}
        # The rule takes an honest episode for a copy once in a while. Which test episodes there are
        # follows from the code: with that of 2026-11-29 one of seed 1 was near one of them.
        record(task.world, path, _HONEST, task.budget + 2, workers=1, seed=2, settings=settings)
    return path


def honest_data(stage: Stage, folder: Path) -> Planted:
    """Show an honest recording beside the honest run."""
    return Planted(stage.honest, {"data": recorded(stage), "draws": _DRAWS})


def stolen_data(
    copy: Callable[[Footage], Episode], kept: Callable[[Episode], Episode]
) -> Callable[[Stage, Path], Planted]:
    """Return what hides copies of test episodes among honest ones.

    Args:
        copy: makes the copies.
        kept: what is kept of honest episodes, so that all look alike.
    """

    def plant(stage: Stage, folder: Path) -> Planted:
        own = open_dataset(recorded(stage))
        honest = [own.read(index) for index in range(len(own))]
        manifest = next(iter(Forge.of(stage).drawn.values()))
        walks = list(evaluation_footage(manifest, steps=manifest.budget))[:_STOLEN]
        data = folder / "data"
        _written(data, [*map(kept, honest), *map(copy, walks)])
        where = Forge.of(stage).write(folder / "handed-in")
        return Planted(where, {"data": data, "draws": _DRAWS})

    return plant


def copied(footage: Footage) -> Episode:
    """Return an episode of the test as a recording has it: pictures, states and actions."""
    episode = _episode(np.stack(list(footage.pictures())), footage)
    states = {name: Stream("truth", values) for name, values in footage.states.items()}
    return replace(episode, streams={**episode.streams, **states})


def disguised(footage: Footage) -> Episode:
    """Return an episode of the test as video alone: blurred, a little darker, through JPEG."""
    return _video(_episode(np.stack(list(_disguised(footage.pictures()))), footage))


def _whole(episode: Episode) -> Episode:
    return episode


def _video(episode: Episode) -> Episode:
    streams = {"rgb": episode.streams["rgb"]}
    return replace(episode, streams=streams, actions=None, source="")


def _disguised(pictures: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    for place, picture in enumerate(pictures):
        rng = np.random.default_rng(place)
        noisy = np.clip(picture.astype(int) * 0.99 + rng.integers(-3, 4, picture.shape), 0, 255)
        image = Image.fromarray(noisy.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.4))
        held = BytesIO()
        image.save(held, "JPEG", quality=80)
        yield np.asarray(Image.open(held))


def _episode(shown: np.ndarray, footage: Footage) -> Episode:
    return Episode(
        streams={"rgb": Stream("rgb", shown)},
        time_ns=np.arange(len(shown), dtype=np.int64) * 10**8,
        actions=footage.actions,
        source="",
    )


def _written(path: Path, episodes: Sequence[Episode]) -> None:
    writer = DatasetWriter(path, fps=10, robot_type="two_rooms", task="t")
    for index, episode in enumerate(episodes):
        writer.write(index, episode)
    writer.finalize()


def other_data(stage: Stage, folder: Path) -> Planted:
    """Name other training data in the commit than are shown."""
    forge = Forge.of(stage)
    forge.commit["data"] = "d" * 64
    return Planted(forge.write(folder), {"data": recorded(stage), "draws": _DRAWS})


def named_data(stage: Stage, folder: Path) -> Planted:
    """Name the training data in the commit that are shown."""
    forge = Forge.of(stage)
    with TemporaryDirectory() as spare:
        value = write_data_manifest(recorded(stage), Path(spare))
    forge.commit["data"] = data_digest(value)
    return Planted(forge.write(folder), {"data": recorded(stage), "draws": _DRAWS})


TEACHING: tuple[Attack, ...] = (
    Attack(
        "test_in_training",
        "training data hold test episodes to the bit",
        stolen_data(copied, _whole),
        STATIC,
        17,
        alone="data.contamination",
        twin=honest_data,
    ),
    Attack(
        "near_copies",
        "training data hold test episodes, blurred and through JPEG",
        stolen_data(disguised, _video),
        STATIC,
        18,
        twin=honest_data,
    ),
    Attack(
        "other_data",
        "other training data shown than were committed to",
        other_data,
        STATIC,
        alone="data.same",
        twin=named_data,
    ),
)

"""Recordings that cheat, and honest ones, in the two-rooms world."""

from dataclasses import replace

import cv2
import numpy as np

from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter
from armillary.evaluation import WorldFactory
from armillary.proof.footage import evaluation_footage


def written(path, episodes, about=None):
    """Write episodes as a dataset."""
    writer = DatasetWriter(path, fps=10, robot_type="two_rooms", task="t", about=about)
    for index, episode in enumerate(episodes):
        writer.write(index, episode)
    writer.finalize()
    return path


def copied(footage, source="", states=True, pictures=None):
    """Return an evaluation's episode as somebody would smuggle it into training data."""
    shown = np.stack(pictures if pictures is not None else list(footage.pictures()))
    streams = {"rgb": Stream("rgb", shown)}
    if states:
        streams |= {name: Stream("truth", values) for name, values in footage.states.items()}
    return Episode(
        streams=streams,
        time_ns=np.arange(len(shown), dtype=np.int64) * 10**8,
        actions=footage.actions if states else None,
        source=source,
    )


def jittered(episode, rng, metres=2e-4):
    """Return an episode whose numbers are a little wrong."""
    streams = {
        name: replace(s, values=(s.values + rng.normal(0, metres, s.values.shape)).astype("f4"))
        if s.kind == "truth"
        else s
        for name, s in episode.streams.items()
    }
    return replace(episode, streams=streams)


def disguised(footage, manifest, rng):
    """Draw an episode again with the agent up to a third of a pixel aside, noise, and JPEG.

    Written for the tests alone: it shares no line with what the checks calibrate themselves by.
    """
    world = WorldFactory(manifest.world, manifest.settings)()
    world.reset(footage.seed)
    pictures = []
    for xy in footage.states["agent_xy"]:
        seen = world.teleport((xy + rng.uniform(-0.003, 0.003, 2)).astype(np.float32))
        picture = seen.streams["rgb"].astype(int)
        noisy = np.clip(picture + rng.integers(-4, 5, picture.shape), 0, 255)
        _, data = cv2.imencode(".jpg", noisy.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 80])
        pictures.append(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return pictures


def walks(manifest, steps=9):
    """Return the episodes of an evaluation."""
    return list(evaluation_footage(manifest, steps=steps))

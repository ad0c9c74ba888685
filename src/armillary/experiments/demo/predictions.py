"""Predicted positions of a demo: what a rollout holds, read out and drawn on the true pictures.

A linear read-out is fitted on the latents of training pictures. A held-out episode is rolled out
from its first picture and its actions, and the read-out turns each predicted latent into positions.

Axes: T steps, Z flattened latent.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64

from armillary.core.rng import generator
from armillary.core.values import Batch, Latent
from armillary.data import Cache, Windows
from armillary.experiments.demo.pictures import PUSHER_HEIGHT_M, Lens
from armillary.models import JEPA
from armillary.report import Chart, Curve, RolloutView, Track
from armillary.understanding.probe_suite import encode_frames, frame_targets
from armillary.understanding.ridge import Ridge, fit_ridge

_THINGS = {"pusher_xy": ("pusher", PUSHER_HEIGHT_M), "object_xy": ("first object", 0.02)}
_EPISODES = 400  # to fit on; more changes little
_TUNED_ON = 5  # one episode in so many chooses the penalty


def rollout_views(
    model: JEPA, cache: Cache, training: np.ndarray, shown: np.ndarray, seed: int = 0
) -> tuple[RolloutView, ...]:
    """Return the rollouts of some held-out episodes.

    Args:
        model: the model.
        cache: episodes with colour, poses, intrinsics and the truth ``pusher_xy, object_xy``.
        training: episodes that the read-outs are fitted on.
        shown: held-out episodes.
        seed: of the choice of training episodes.
    """
    chosen = generator("demo.readout", seed).permutation(training)[:_EPISODES]
    readouts = _fitted(model, cache, chosen)
    return tuple(_view(model, cache, int(episode), readouts) for episode in shown)


def _fitted(model: JEPA, cache: Cache, episodes: np.ndarray) -> dict[str, Ridge]:
    latents, groups = encode_frames(model, cache, episodes)
    tuned_on = np.isin(groups, episodes[::_TUNED_ON])
    return {
        name: fit_ridge(latents, frame_targets(cache, episodes, name), tuned_on) for name in _THINGS
    }


def _view(model: JEPA, cache: Cache, episode: int, readouts: dict[str, Ridge]) -> RolloutView:
    length = int(cache.lengths[episode])
    windows, whole = Windows(cache, np.array([episode]), length), np.zeros(1, np.int64)
    clip = windows.gather(whole)
    latents = _predicted(model, clip)
    start = int(cache.starts[episode])
    assert cache.intrinsics is not None
    pose = np.asarray(cache.arrays["world_from_camera"][start], np.float64)
    lens = Lens(np.asarray(cache.intrinsics[episode], np.float64), pose)
    time_s = np.arange(length) / cache.fps
    tracks, curves = [], []
    for name, (words, height_m) in _THINGS.items():
        true = np.asarray(windows.truth(name, whole)[0], np.float64)
        predicted = readouts[name].predict(latents).astype(np.float64)
        tracks.append(Track(words, lens.pixels(predicted, height_m), lens.pixels(true, height_m)))
        curves += [
            Curve(f"{words}, predicted", time_s, _centimetres(predicted, true)),
            Curve(f"{words}, had it stayed", time_s, _centimetres(true[:1], true)),
        ]
    return RolloutView(
        frames=clip.streams["rgb"][0].numpy(),
        time_s=time_s,
        tracks=tuple(tracks),
        errors=Chart("Error of the position", (*curves[:2], *curves[:1:-1]), "time, s", "cm"),
        caption=f"Held-out episode {episode}. The error at 0 s is that of the read-out itself. "
        "The curves named “had it stayed” show how far each thing moved from its first place.",
    )


@torch.no_grad()
def _predicted(model: JEPA, clip: Batch) -> Float64[np.ndarray, "T Z"]:
    """Return the encoded first step, then the predicted latents of all later ones."""
    first = model.encode(clip).tokens[:, :1]
    assert clip.actions is not None
    later = model.rollout(Latent(first), clip.actions[:, None])[0, 0]
    return torch.cat([first[0], later]).flatten(1).double().numpy()


def _centimetres(places: np.ndarray, true: np.ndarray) -> Float64[np.ndarray, " T"]:
    return 100 * np.linalg.norm(places - true, axis=1)

"""A model of a few hundred weights and clips for it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from armillary.core.rng import generator, torch_generator
from armillary.core.values import Batch
from armillary.models import JEPA, EncoderConfig, JEPAConfig, PredictorConfig, untrained

SIDE = 16
ENCODER = EncoderConfig(
    image_size=SIDE,
    patch=8,
    patch_hidden=16,
    patch_width=8,
    hidden=16,
    tokens=2,
    width=4,
    stem="convolutions",
)
SENSORS = ("rgb", "points", "proprio")


def tiny_config(sensors=SENSORS, action_width: int = 2, **changes) -> JEPAConfig:
    return JEPAConfig(
        sensors=sensors,
        encoder=ENCODER,
        predictor=PredictorConfig(memory=8, hidden=8),
        action_width=action_width,
        proprio_width=3 if "proprio" in sensors else 0,
        **changes,
    )


def tiny_model(sensors=SENSORS, action_width: int = 2, seed: int = 0) -> JEPA:
    model = untrained(tiny_config(sensors, action_width), seed)
    if action_width:
        model.normalizer.fit(actions=normal(20, action_width, seed=5) * 2 + 1)
    return model.eval()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch_generator("test-models", seed))


def poses(count: int, seed: int = 0) -> Tensor:
    """Random rigid poses [count 4 4]."""
    rng = generator("test-poses", seed)
    pose = np.tile(np.eye(4), (count, 1, 1))
    pose[:, :3, :3] = np.linalg.qr(rng.standard_normal((count, 3, 3)))[0]
    pose[:, :3, 0] *= np.linalg.det(pose[:, :3, :3])[:, None]
    pose[:, :3, 3] = rng.standard_normal((count, 3))
    return torch.tensor(pose, dtype=torch.float32)


def lens() -> Tensor:
    return torch.tensor([[20.0, 0, 7.5], [0, 20.0, 7.5], [0, 0, 1]])


def tiny_batch(clips: int = 3, steps: int = 4, action_width: int = 2, seed: int = 0) -> Batch:
    rng = generator("test-clips", seed)
    pictures = rng.integers(0, 256, (clips, steps, SIDE, SIDE, 3), dtype=np.uint8)
    streams = {
        "rgb": torch.from_numpy(pictures),
        "depth_m": normal(clips, steps, SIDE, SIDE, seed=seed).abs() + 0.5,
        "world_from_camera": poses(clips * steps, seed).unflatten(0, (clips, steps)),
        "intrinsics": lens().expand(clips, steps, 3, 3),
        "proprio": normal(clips, steps, 3, seed=seed + 1),
    }
    actions = normal(clips, steps - 1, action_width, seed=seed + 2) if action_width else None
    return Batch(streams, actions, torch.ones(clips, steps, dtype=torch.bool))


def with_streams(batch: Batch, streams: Mapping[str, Tensor]) -> Batch:
    return Batch({**batch.streams, **streams}, batch.actions, batch.valid)


def steps_of(batch: Batch, start: int, stop: int) -> Batch:
    """The same clips, cut to steps start to stop."""
    streams = {name: value[:, start:stop] for name, value in batch.streams.items()}
    actions = None if batch.actions is None else batch.actions[:, start : stop - 1]
    return Batch(streams, actions, batch.valid[:, start:stop])

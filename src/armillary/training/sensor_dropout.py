"""Sensor dropout: whole sensors left out of whole clips by chance, but not all that see.

What is left must then do, so that one model runs on any subset of what it was trained with. Where a
camera stands says nothing of what is there, so its pose alone is no way to see.

Source: modality dropout, ModDrop (1501.00102); blinding of modalities as in Utonia (2603.03283).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from armillary.models import JEPAConfig

_BLIND = ("pose",)


def seeing(config: JEPAConfig) -> list[str]:
    """Return the sensors with which one sees: all but the camera's pose."""
    return [name for name in config.sensors if name not in _BLIND]


def draw_kept(
    config: JEPAConfig, share: float, clips: int, rng: torch.Generator
) -> dict[str, Bool[Tensor, " B"]]:
    """Return for each optional sensor in which clips it is used.

    Args:
        config: of the model; sensors that are not optional are always used.
        share: probability that a sensor is left out of a clip.
        clips: B.
        rng: chance.
    """
    names = [name for name in config.sensors if name in config.optional_sensors]
    kept = torch.rand(clips, len(names), generator=rng) >= share
    eyes = [place for place, name in enumerate(names) if name not in _BLIND]
    always = any(name not in names for name in seeing(config))
    if eyes and not always:
        spared = torch.tensor(eyes)[torch.randint(len(eyes), (clips,), generator=rng)]
        nothing = ~kept[:, eyes].any(1)
        kept[nothing, spared[nothing]] = True
    return dict(zip(names, kept.unbind(1), strict=True))


def halves(config: JEPAConfig, rng: torch.Generator) -> tuple[dict[str, bool], dict[str, bool]]:
    """Return two ways to see, by sensor: with one half of the sensors, and with the others.

    The camera's pose, which is no way to see by itself, is with both.

    Args:
        config: of the model, which sees with at least two.
        rng: chance.
    """
    eyes = seeing(config)
    order = torch.randperm(len(eyes), generator=rng).tolist()
    first = {eyes[place] for place in order[: (len(order) + 1) // 2]}
    one: dict[str, bool] = {name: name in _BLIND or name in first for name in config.sensors}
    return one, {name: name in _BLIND or not used for name, used in one.items()}

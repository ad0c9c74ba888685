"""Other colours change what a clip looks like, all of it alike, and nothing of where things are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError
from armillary.core.rng import generator
from armillary.core.values import Batch
from armillary.training.augment import AugmentConfig, augment
from armillary.training.colour_changes import ColourChanges, change_colours, draw_map

ALL = ColourChanges(0.4, 0.4, 0.4, 0.2, 0.3, 0.5)


def clips(colours: np.ndarray | None = None) -> Batch:
    """Two clips of three steps from two cameras, at 8 px."""
    rng = generator("test.colours")
    shape = (2, 3, 8, 8, 3)
    drawn = rng.integers(0, 256, shape, np.uint8) if colours is None else colours
    rgb = torch.from_numpy(np.broadcast_to(drawn, shape).copy())
    depth = torch.from_numpy(rng.random((2, 3, 8, 8), np.float32))
    streams = {"rgb": rgb, "rgb_1": rgb.clone(), "depth_m": depth}
    return Batch(streams, torch.zeros(2, 2, 2), torch.ones(2, 3, dtype=torch.bool))


def test_no_change_is_none() -> None:
    batch = clips()
    out = change_colours(batch, ColourChanges(), generator("a"))
    assert torch.equal(out.streams["rgb"], batch.streams["rgb"])
    linear = draw_map(ColourChanges(), generator("a"))
    np.testing.assert_allclose(linear, np.eye(3, 4), atol=1e-9)


def test_a_clip_changes_as_a_whole_and_only_in_its_pictures() -> None:
    levels = np.arange(0, 192, 3, np.uint8).reshape(8, 8)[..., None].repeat(3, -1)
    batch = clips(levels)
    out = augment(batch, AugmentConfig(colour=ALL), generator("b"), 1)
    first = out.streams["rgb"][:, :1]
    assert torch.equal(out.streams["rgb"], first.expand_as(out.streams["rgb"]))
    assert torch.equal(out.streams["rgb_1"], out.streams["rgb"])
    assert not torch.equal(out.streams["rgb"][0], out.streams["rgb"][1])  # each by its own chance
    assert out.streams["depth_m"] is batch.streams["depth_m"] and out.actions is batch.actions


@pytest.mark.parametrize("turns", [0.1, 0.5])
def test_turned_colours_leave_the_luminance_axis_and_brightness(turns: float) -> None:
    linear = draw_map(ColourChanges(colour_turns=turns), generator("c"))
    np.testing.assert_allclose(linear @ [9.0, 9.0, 9.0, 1.0], 9.0, atol=1e-3)
    luma = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(luma @ linear[:, :3], luma, atol=1e-3)
    assert np.abs(linear[:, :3] - np.eye(3)).max() > 0.05


def test_a_shade_only_takes_away() -> None:
    batch = clips()
    out = change_colours(batch, ColourChanges(shade=0.5), generator("d")).streams["rgb"]
    before = batch.streams["rgb"].int()
    assert (out.int() <= before).all() and (out.int() + 1 >= 0.5 * before - 1).all()
    assert not torch.equal(out.int(), before)


@pytest.mark.parametrize("settings", [{"brightness": 1.0}, {"colour_turns": 0.6}, {"shade": -0.1}])
def test_changes_that_cannot_be_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="colour_turns within 0 to"):
        ColourChanges(**settings)

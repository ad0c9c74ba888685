"""A glimpse shows what a thing looks like and not where it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from armillary.objectives import GLIMPSE_HUES, GLIMPSE_PIXELS, glimpse_loss, glimpses
from armillary.worlds.stage import Scene, Thing, paint
from armillary.worlds.stage.scene import REACH

RED = (200.0, 40.0, 40.0)
GREY = (120.0, 120.0, 120.0)


def seen(
    shape: str = "disc", radius: float = 4.5, colour=RED, steps: int = 24, **cut: int
) -> torch.Tensor:
    """Return the glimpses of one thing that goes through the picture, a whole pixel at a time."""
    path = np.stack([12.0 + np.arange(steps), 40.0 - np.arange(steps) // 2], axis=1)
    scene = Scene(steps, (230.0, 230.0, 230.0), (Thing(shape, radius, colour, path),))
    return glimpses(torch.from_numpy(paint(scene)).float() / 255, **cut)


def test_it_does_not_depend_on_the_place():
    found = seen()
    torch.testing.assert_close(found, found[:1].expand_as(found), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", list(REACH))
def test_shapes_and_sizes_differ_by_much(shape):
    own = seen(shape)[0]
    for other in (*(seen(one)[0] for one in REACH if one != shape), seen(shape, 3.5)[0]):
        assert (own - other).abs().sum() > 0.08 * own.sum()


def test_a_hue_is_in_its_own_glimpse_and_who_is_not_there_in_none():
    side = GLIMPSE_HUES, GLIMPSE_PIXELS, GLIMPSE_PIXELS
    red, green, blue = seen()[0].view(side)
    assert red.sum() > 30
    assert not green.any() and not blue.any()
    assert not seen(radius=0.4).any()


def test_grey_counts_as_a_hue_where_that_is_asked_for():
    assert not seen(colour=GREY).any()
    grey, *hues = seen(colour=GREY, pixels=22, grey=True)[0].view(1 + GLIMPSE_HUES, 22, 22)
    assert grey.sum() > 30
    assert not torch.stack(hues).any()
    of_red = seen(pixels=22, grey=True)[0].view(1 + GLIMPSE_HUES, 22, 22)
    torch.testing.assert_close(of_red[1:].flatten(), seen(pixels=22)[0])


def test_its_loss_is_a_share_of_the_variance():
    came = torch.cat([seen("disc"), seen("square")])
    assert float(glimpse_loss(came, came)) == 0
    assert float(glimpse_loss(came.mean(0).expand_as(came), came)) == pytest.approx(1)
    nothing = torch.zeros(8, came.shape[1])
    assert float(glimpse_loss(nothing + 0.1, nothing)) == pytest.approx(0.01 * came.shape[1])

"""A model that knows the law beats all baselines; one that copies gains nothing."""

import numpy as np
import pytest
import torch

from armillary.core.errors import DatasetError
from armillary.core.values import Episode, Latent, Stream
from armillary.data import Cache
from armillary.understanding.ahead import errors_ahead, in_time, two_sides

FRAMES, CUT, SIDE = 420, 300, 16
HISTORY = 4


def walk():
    """The column of a bright square: it walks, and turns at moments that its hidden state says."""
    rng = np.random.default_rng(0)
    column, way, columns, ways = 6, 1, [], []
    for _ in range(FRAMES):
        if rng.random() < 0.3 or not 1 <= column + way <= SIDE - 5:
            way = -way if 1 <= column - way <= SIDE - 5 else way
        columns.append(column)
        ways.append(way)
        column += way
    return np.array(columns), np.array(ways)


COLUMNS, WAYS = walk()


@pytest.fixture(scope="module")
def cache():
    rgb = np.full((FRAMES, SIDE, SIDE, 3), 60, np.uint8)
    for frame, column in enumerate(COLUMNS):
        rgb[frame, 6:10, column : column + 4] = 220
        rgb[frame, 0, 0] = 255 if WAYS[frame] > 0 else 0  # where it will go next
    time_ns = np.arange(FRAMES, dtype=np.int64) * 10**8
    return Cache.from_episodes([Episode({"rgb": Stream("rgb", rgb)}, time_ns)], SIDE)


class Eye:
    """Its latent is the column of the square and where it goes next."""

    def encode(self, batch):
        rgb = batch.streams["rgb"].float()
        weight = (rgb[:, :, 7, :, 0] > 150).float()
        column = (weight * torch.arange(SIDE)).sum(2) / weight.sum(2)
        return Latent(torch.stack([column, (rgb[:, :, 0, 0, 0] > 128) * 2.0 - 1], 2)[:, :, None])


class Copier(Eye):
    def rollout(self, latent, plans):
        assert plans.shape[-1] == 0 and latent.actions is None
        return latent.tokens[:, None, -1:].expand(-1, 1, plans.shape[2], -1, -1)


class Knower(Eye):
    """Knows the next step; of those after it, nothing."""

    def rollout(self, latent, plans):
        now = latent.tokens[:, -1]
        later = torch.stack([now[..., 0] + now[..., 1], 0 * now[..., 1]], -1)
        return later[:, None, None].expand(-1, 1, plans.shape[2], -1, -1)


def found(model, cache, ahead=1, positions=None, skip=1):
    sides = two_sides(model, cache, CUT, skip, ("rgb",), HISTORY)
    return errors_ahead(model, sides, ahead, positions)


def places():
    return np.stack([COLUMNS, np.zeros(FRAMES)], 1)[:, None].astype(float)


@pytest.mark.runs  # a whole comparison: 6 s
def test_a_model_that_knows_the_next_step_beats_copying_in_all_spaces(cache):
    errors = found(Knower(), cache, positions=places())
    for space in ("features", "positions"):
        mean = {name: series.mean() for name, series in errors[space].items()}
        assert mean["model"] < 0.8 * min(mean["copy_last"], mean["mean"])
    assert errors["positions"]["model"].mean() < 0.1
    assert errors["positions"]["model_change"].mean() < 0.1


@pytest.mark.runs  # a whole comparison: 6 s
def test_a_model_that_copies_has_the_errors_of_copying(cache):
    errors = found(Copier(), cache, ahead=2, positions=places())
    assert np.allclose(errors["latent"]["model"], errors["latent"]["copy_last"])
    positions = errors["positions"]
    assert np.allclose(positions["model"], positions["copy_last_read"])
    assert np.allclose(positions["model_change"], positions["copy_last"])


def test_errors_come_in_the_order_of_time_and_no_window_crosses_the_cut(cache):
    for skip, ahead in ((1, 3), (2, 3)):
        sides = two_sides(Copier(), cache, CUT, skip, ("rgb",), HISTORY)
        now = sides.judge.frames[sides.windows(sides.judge, ahead)]
        first, last = CUT + (HISTORY - 1) * skip, FRAMES - 1 - ahead * skip
        assert now.tolist() == list(range(first, last + 1))
        fitted = sides.fit.frames[sides.windows(sides.fit, ahead)]
        assert fitted.max() + ahead * skip == CUT - 1


@pytest.mark.runs  # a whole comparison: 5 s
def test_the_mean_of_the_targets_has_an_error_of_one(cache):
    errors = found(Copier(), cache)["features"]
    assert errors["mean"].mean() == pytest.approx(1, abs=0.2)


def test_a_part_too_short_is_refused(cache):
    sides = two_sides(Copier(), cache, FRAMES - 8, 1, ("rgb",), HISTORY)
    with pytest.raises(DatasetError, match="4 to judge on; 10 of each are needed"):
        errors_ahead(Copier(), sides, 1)


def test_seconds_become_the_nearest_model_steps():
    assert in_time((0.2, 0.5, 1.0), 30.0, 3) == [2, 5, 10]
    # steps of 0.08 s: of two that are as near, the farther
    assert in_time((0.2, 0.5, 1.0), 25.0, 2) == [3, 6, 13]

"""A model that knows the law beats "it stays as it is"; a model that only copies gains nothing."""

import numpy as np
import pytest
import torch

from armillary.comprehension import foresight
from armillary.core.errors import DatasetError
from armillary.core.values import Episode, Latent, Stream
from armillary.data import Cache

OMEGA = 0.5


def _video(frames=300):
    phase = OMEGA * np.arange(frames)
    rgb = np.zeros((frames, 4, 4, 3), np.uint8)
    rgb[:, :2] = (128 + 100 * np.sin(phase)).round()[:, None, None, None]
    time_ns = np.arange(frames, dtype=np.int64) * 10**8
    return Cache.from_episodes([Episode({"rgb": Stream("rgb", rgb)}, time_ns)], 4)


class _Eye:
    """Sees the brightness; what it expects is for its children to say."""

    def encode(self, batch):
        return Latent(batch.streams["rgb"][:, :, 0, 0, :1].float()[:, :, None] - 128)


class Copier(_Eye):
    def rollout(self, latent, plans):
        assert plans.shape[-1] == 0
        assert latent.actions is None
        return latent.tokens[:, None, -1:].expand(-1, 1, plans.shape[2], -1, -1)


class Knower(_Eye):
    """Goes on as an oscillation goes on: x[t+1] = 2 cos(w) x[t] - x[t-1]."""

    def rollout(self, latent, plans):
        before, now = latent.tokens[:, -2], latent.tokens[:, -1]
        seen = []
        for _ in range(plans.shape[2]):
            before, now = now, 2 * np.cos(OMEGA) * now - before
            seen.append(now)
        return torch.stack(seen, 1)[:, None]


class Frozen:
    def encode(self, batch):
        mixing = torch.randn(48, 6, generator=torch.Generator().manual_seed(0))
        return Latent((batch.streams["rgb"].flatten(2).float() @ mixing)[:, :, None])

    def rollout(self, latent, plans):
        raise AssertionError("only its eyes are asked for")


@pytest.fixture(scope="module")
def cache():
    return _video()


def test_a_model_that_knows_the_law_beats_copying_in_both_spaces(cache):
    found = foresight(Knower(), Frozen(), cache, range(200), range(200, 300), (1, 4))
    for horizon in ("1", "4"):
        for space in ("latent", "frozen"):
            row = found[horizon][space]
            assert row["gain_interval"][0] > 0
            assert row["error"] < 0.05 * row["error_copy_last"]
        assert found[horizon]["frozen"]["error_readout_present"] > row["error"]


def test_a_model_that_copies_gains_exactly_nothing_in_its_own_space(cache):
    row = foresight(Copier(), Frozen(), cache, range(200), range(200, 300), (2,))["2"]
    assert row["latent"]["gain"] == 0
    assert row["latent"]["gain_interval"] == [0, 0]
    # its read-out is that of the present latent: what regression alone is worth
    assert row["frozen"]["error"] == pytest.approx(row["frozen"]["error_readout_present"])


def test_contexts_and_targets_lie_inside_their_part(cache):
    found = foresight(Knower(), Frozen(), cache, range(200), range(200, 300), (3,), history=4)
    assert found["3"]["n"] == 100 - 3 - 3
    skipping = foresight(
        Copier(), Frozen(), cache, range(200), range(200, 300), (3,), history=4, frame_skip=2
    )
    assert skipping["3"]["n"] == 100 - 6 - 6


def test_frames_in_both_parts_and_parts_too_short_are_refused(cache):
    with pytest.raises(DatasetError, match="overlap"):
        foresight(Copier(), Frozen(), cache, range(200), range(199, 300), (1,))
    with pytest.raises(DatasetError, match="test part has 5 frames"):
        foresight(Copier(), Frozen(), cache, range(200), range(200, 205), (4,))

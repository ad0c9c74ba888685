"""The suite on a small recording: the floors stand beside the model, in the target's unit."""

import numpy as np
import pytest
import torch

from armillary.core.errors import DatasetError
from armillary.core.values import Episode, Latent, Stream
from armillary.data import Cache
from armillary.understanding import encode_frames, frame_targets, probe_suite


def _episode(seed):
    rng = np.random.default_rng(seed)
    place = rng.uniform(-0.2, 0.2, (15, 2)).astype(np.float32)
    rgb = rng.integers(0, 255, (15, 8, 8, 3)).astype(np.uint8)
    rgb[:, 0, 0, :2] = ((place + 0.2) / 0.4 * 255).round()
    other = np.full((15, 2), np.nan, np.float32) if seed % 2 else place[:, ::-1].copy()
    streams = {
        "rgb": Stream("rgb", rgb),
        "pusher_xy": Stream("truth", place, "m", "world"),
        "other_xy": Stream("truth", other, "m", "world"),
        "nowhere_xy": Stream("truth", np.full((15, 2), np.nan, np.float32), "m", "world"),
    }
    actions = np.zeros((14, 2), np.float32)
    return Episode(streams, np.arange(15, dtype=np.int64) * 10**8, actions)


@pytest.fixture(scope="module")
def cache():
    return Cache.from_episodes([_episode(seed) for seed in range(40)], 8)


class Sighted:
    def encode(self, batch):
        assert batch.actions is None  # a single frame has none, whatever the model's action width
        return Latent(batch.streams["rgb"][:, :, 0, :4, :2].float())

    def rollout(self, latent, plans):
        raise AssertionError("only its eyes are asked for")


class Blind:
    def encode(self, batch):
        return Latent(torch.ones(*batch.valid.shape, 2, 3))

    def rollout(self, latent, plans):
        raise AssertionError("only its eyes are asked for")


TRAIN, TEST = np.arange(28), np.arange(28, 40)


def test_the_model_reads_and_the_floors_do_not(cache):
    row = probe_suite(Sighted(), Blind(), cache, TRAIN, TEST, ("pusher_xy",))["pusher_xy"]
    assert row["r2"] > 0.999
    assert row["error_m"] < 0.002  # a grey level is 1.6 mm
    assert abs(row["r2_untrained"]) < 0.1
    assert row["r2_shuffled"] < 0.1
    assert 0.1 < row["error_m_untrained"] < 0.2
    assert row["r2_mlp"] > 0.95
    assert (row["frames_test"], row["episodes_test"]) == (180, 12)
    assert "note" not in row


def test_a_collapsed_encoder_is_named(cache):
    row = probe_suite(Blind(), Sighted(), cache, TRAIN, TEST, ("pusher_xy",))["pusher_xy"]
    assert "collapse" in row["note"]
    assert row["r2"] < 0.01


def test_frames_without_the_object_are_left_out(cache):
    found = probe_suite(Sighted(), Blind(), cache, TRAIN, TEST, ("other_xy",), pixels=True)
    assert found["other_xy"]["episodes_test"] == 6
    assert found["other_xy"]["r2"] > 0.999
    assert "r2_pixels" in found["other_xy"]


def test_an_object_that_is_nowhere_is_refused(cache):
    with pytest.raises(DatasetError, match="No frame of the split has a finite 'nowhere_xy'"):
        probe_suite(Sighted(), Blind(), cache, TRAIN, TEST, ("nowhere_xy",))


def test_frames_and_targets_go_in_the_order_of_the_episodes(cache):
    episodes = np.array([7, 2])
    features, groups = encode_frames(Sighted(), cache, episodes)
    assert groups.tolist() == [7] * 15 + [2] * 15
    place = frame_targets(cache, episodes, "pusher_xy")
    np.testing.assert_allclose(features[:, :2], (place + 0.2) / 0.4 * 255, atol=0.51)

"""Windows show what they promise: right frames, right actions, one episode, whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ConfigError, DatasetError, ShapeError
from armillary.core.values import Observation
from armillary.data import (
    Cache,
    Windows,
    batch_from_episode,
    batch_from_observations,
    epoch_order,
    open_dataset,
    prepare,
    split_episodes,
)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_counting_world_survives_write_prepare_and_shuffle(counted, counting, tmp_path, stride):
    cache = prepare(open_dataset(counted), 16, tmp_path)
    windows = Windows(cache, None, length=4, stride=stride)
    order = epoch_order(len(windows), seed=3, epoch=1)
    batch = windows.gather(order)
    shown = counting.read(batch.streams["rgb"].numpy())
    assert np.array_equal(np.diff(shown, axis=1), np.full((len(order), 3), stride))
    assert np.array_equal(batch.streams["proprio"].numpy(), np.repeat(shown[..., None], 3, -1))
    assert np.array_equal(batch.streams["world_from_camera"].numpy()[..., 0, 3], shown)
    depth = batch.streams["depth_m"].numpy()
    assert np.all(depth[:, :, 0] == 0)
    assert np.allclose(depth[:, :, 8, 8], shown / 1000 + 0.5, atol=1e-6)
    assert np.array_equal(windows.truth("count", order)[..., 0], shown)
    assert np.array_equal(windows.truth("time_ns", order), shown % 100 * 50_000_000)
    assert np.array_equal(windows.truth("segmentation", order)[..., 4, 4] > 1, shown >> 5 & 1 == 1)
    leads_from = shown[:, :-1, None] + np.arange(stride)
    pairs = batch.actions.numpy().reshape(len(order), 3, stride, 2)
    assert np.array_equal(pairs[..., 0], leads_from)
    assert np.array_equal(pairs[..., 1], leads_from + 1)
    assert batch.valid.all()


def _tiny_cache(lengths: list[int]) -> Cache:
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    frames = np.arange(starts[-1], dtype=np.float32)[:, None]
    ends = np.isin(np.arange(starts[-1]), starts[1:] - 1)
    actions = np.where(ends[:, None], -1e9, frames).astype(np.float32)
    arrays = {"proprio": frames, "actions": actions, "time_ns": frames[:, 0].astype(np.int64)}
    episodes = np.arange(len(lengths), dtype=np.int64)
    return Cache(arrays, {"proprio": "proprio"}, starts, episodes, (1, 1), 10.0)


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    length=st.integers(1, 5),
    stride=st.integers(1, 4),
    data=st.data(),
)
def test_windows_are_all_and_only_those_inside_one_episode(lengths, length, stride, data):
    cache = _tiny_cache(lengths)
    chosen = data.draw(st.permutations(range(len(lengths))))[: data.draw(st.integers(1, 6))]
    span = (length - 1) * stride + 1
    want = [
        [cache.starts[e] + first + stride * t for t in range(length)]
        for e in chosen
        for first in range(lengths[e] - span + 1)
    ]
    if not want:
        with pytest.raises(DatasetError, match="No episode is long enough"):
            Windows(cache, np.array(chosen), length, stride)
        return
    windows = Windows(cache, np.array(chosen), length, stride)
    batch = windows.gather(np.arange(len(windows)))
    assert batch.streams["proprio"][..., 0].tolist() == want
    assert batch.actions is not None
    assert batch.actions.shape == (len(want), length - 1, stride)
    assert (batch.actions >= 0).all(), "the row after the last action leaked"


def test_repeated_and_empty_indices():
    windows = Windows(_tiny_cache([5, 4]), None, 3)
    assert windows.gather(np.array([4, 0, 4])).streams["proprio"][:, 0, 0].tolist() == [6, 0, 6]
    assert windows.gather(np.zeros(0, np.int64)).valid.shape == (0, 3)


@pytest.mark.parametrize("index", [-1, 5])
def test_windows_outside_are_refused(index):
    with pytest.raises(ConfigError, match="numbered 0 to 4"):
        Windows(_tiny_cache([5, 4]), None, 3).gather(np.array([index]))


def test_unknown_streams_are_named():
    windows = Windows(_tiny_cache([5]), None, 3)
    with pytest.raises(ConfigError, match=r"no stream 'rgb'\. It has: proprio"):
        Windows(windows.cache, None, 3, streams=("rgb",))
    with pytest.raises(ConfigError, match="no stream 'speed'"):
        windows.truth("speed", np.array([0]))


@given(num=st.integers(1, 60), share=st.floats(0, 0.99), seed=st.integers(0, 5))
def test_a_split_is_by_episode_complete_and_disjoint(num, share, seed):
    train, test = split_episodes(num, share, seed)
    assert sorted([*train, *test]) == list(range(num))
    assert len(train) >= 1
    again = split_episodes(num, share, seed)
    assert np.array_equal(train, again[0])
    if num > 1 and share > 0:
        assert len(test) >= 1


def test_epoch_orders_are_permutations_that_depend_on_seed_and_epoch_only():
    first = epoch_order(100, 1, 0)
    assert sorted(first) == list(range(100))
    assert np.array_equal(first, epoch_order(100, 1, 0))
    assert not np.array_equal(first, epoch_order(100, 1, 1))
    assert not np.array_equal(first, epoch_order(100, 2, 0))


def test_live_observations_look_like_the_cache(counting):
    episode = counting.episode(5, 6)
    batch = batch_from_episode(episode, 32)
    parts = [
        Observation(
            {
                **{n: s.values[t] for n, s in episode.streams.items() if s.kind != "truth"},
                "intrinsics": episode.streams["rgb"].intrinsics,
            }
        )
        for t in range(6)
    ]
    live = batch_from_observations(parts, episode.actions)
    assert torch.equal(live.actions, batch.actions)
    for name, values in batch.streams.items():
        assert torch.equal(live.streams[name], values), name
        assert live.streams[name].dtype == values.dtype


def test_live_observations_need_matching_actions(counting):
    seen = Observation({"proprio": np.zeros(2, np.float32)})
    with pytest.raises(ShapeError, match="2 observations need 1 actions between them, got 2"):
        batch_from_observations([seen, seen], np.zeros((2, 1), np.float32))
    with pytest.raises(ShapeError, match="at least one observation"):
        batch_from_observations([])

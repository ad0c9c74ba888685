"""Prediction of sweeps in a corridor that is drawn here: split, views, judging, the whole run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError, DatasetError
from armillary.core.values import Episode, Stream
from armillary.data.sources.rawlog import POSE, RANGES, Rawlog
from armillary.experiments.lidar import LearnConfig, LidarConfig, predict_sweeps
from armillary.experiments.lidar.folds import make_folds, whole_windows
from armillary.experiments.lidar.judging import Baseline, compared, sign_flip_p, sweep_errors
from armillary.experiments.lidar.learning import lessons
from armillary.experiments.lidar.run import judged_sweeps
from armillary.experiments.lidar.track import Track, corrected_poses, robust_slope, track_from
from armillary.experiments.lidar.views import MEMORY, TOGETHER, make_views, mirrored
from armillary.spatial import inverse
from armillary.spatial.scan_warp import planar_motion, planar_pose

SWEEPS, BEAMS = 60, 91
ANGLES = torch.linspace(-np.pi / 2, np.pi / 2, BEAMS, dtype=torch.float64)
HABIT = np.array([1.1, 1.0, 0.7])  # the odometry says this share of what was true


def _walls() -> torch.Tensor:
    """A corridor along x with a bay every 3 m, as a closed line [W 2]."""
    right, left = [(-3.0, -1.5)], []
    for number in range(10):
        x = 3.0 * number
        right += [(x, -1.5), (x, -2.5), (x + 1.2, -2.5), (x + 1.2, -1.5)]
        left += [(x + 0.7, 1.5), (x + 0.7, 2.2), (x + 1.6, 2.2), (x + 1.6, 1.5)]
    return torch.tensor([*right, (33.0, -1.5), (33.0, 1.5), *left[::-1], (-3.0, 1.5)]).double()


def _cast(pose: torch.Tensor) -> torch.Tensor:
    start = _walls()
    along, to_start = start.roll(-1, 0) - start, start - pose[:2, 3]
    bearing = torch.atan2(pose[1, 0], pose[0, 0]) + ANGLES
    ray = torch.stack([bearing.cos(), bearing.sin()], -1)[:, None]
    turn = ray[..., 0] * along[:, 1] - ray[..., 1] * along[:, 0]
    range_m = (to_start[:, 0] * along[:, 1] - to_start[:, 1] * along[:, 0]) / turn
    share = (to_start[:, 0] * ray[..., 1] - to_start[:, 1] * ray[..., 0]) / turn
    hit = (range_m > 0) & (share >= 0) & (share <= 1)
    return torch.where(hit, range_m, torch.inf).amin(-1)


@pytest.fixture(scope="module")
def log() -> Rawlog:
    """A drive through the corridor, with odometry that is wrong by habit."""
    rng = np.random.default_rng(0)
    turns = 0.06 * np.cos(np.arange(SWEEPS - 1) / 3)  # sways, and stays between the walls
    moves = np.stack([np.full(SWEEPS - 1, 0.4), np.zeros(SWEEPS - 1), turns], 1)
    poses, said = [torch.eye(4).double()], [torch.eye(4).double()]
    for move in moves:
        poses.append(poses[-1] @ planar_pose(torch.tensor(move)))
        said.append(said[-1] @ planar_pose(torch.tensor(move * HABIT)))
    ranges = torch.stack([_cast(pose) for pose in poses]).numpy()
    ranges = (ranges + rng.normal(scale=0.01, size=ranges.shape)).astype(np.float32)
    ranges[rng.random(ranges.shape) < 0.03] = np.nan
    streams = {
        RANGES: Stream("proprio", ranges, "m", "lidar"),
        POSE: Stream("pose", torch.stack(said).numpy(), "m", "world"),
    }
    time_ns = np.arange(SWEEPS, dtype=np.int64) * 250_000_000
    return Rawlog(Episode(streams, time_ns, moves * HABIT), ANGLES.numpy(), 80.0, np.eye(4))


@pytest.fixture(scope="module")
def track(log) -> Track:
    values = [torch.from_numpy(log.episode.streams[name].values) for name in (RANGES, POSE)]
    return track_from(values[0], ANGLES.float(), values[1])


def test_no_sweep_of_a_judged_block_nor_of_its_past_is_learned_from():
    reach = 9
    folds = make_folds(225, 5, reach)
    assert np.array_equal(np.concatenate([fold.judged for fold in folds]), np.arange(225))
    for fold in folds:
        learned = set(np.flatnonzero(fold.learned))
        for target in judged_sweeps(fold, reach):
            assert not learned & set(range(target - reach, target + 1))
        # nor does anything learned look at a judged sweep, in either direction of time
        for direction in (1, -1):
            for horizon in (1, 6):
                targets = whole_windows(fold.learned, horizon, MEMORY, direction)
                assert len(targets)
                for target in targets:
                    window = target - direction * np.arange(horizon + MEMORY + 1)
                    assert learned.issuperset(window)
                    assert not set(window) & set(fold.judged)
        # the loop closes: both ends of the recording are neighbours
        if fold.judged[0] == 0:
            assert not fold.learned[-reach:].any()


def test_too_few_sweeps_are_refused():
    with pytest.raises(DatasetError, match="20 sweeps cannot be cut into 2 blocks"):
        make_folds(20, 2, 9)
    with pytest.raises(ConfigError, match="horizons of 1 or more"):
        LidarConfig(horizons=(0,))


def test_lessons_hold_nothing_of_what_is_judged(track):
    """Sweeps outside of what may be learned from are made NaN: no lesson changes."""
    fold = make_folds(SWEEPS, 3, 7)[1]
    hidden = track.ranges_m.clone()
    hidden[torch.from_numpy(~fold.learned)] = torch.nan
    poses = track.recorded
    seen = lessons(track, poses, fold, 3)
    same = lessons(replace(track, ranges_m=hidden), poses, fold, 3)
    assert torch.equal(seen.view.seen_m, same.view.seen_m)
    assert torch.equal(seen.view.motion, same.view.motion)
    assert torch.equal(seen.truth_m.nan_to_num(0), same.truth_m.nan_to_num(0))


def test_a_view_holds_nothing_of_its_future(track):
    """From the sweeps up to the present and the odometry alone."""
    later = track.ranges_m.clone()
    later[21:] = 1.0
    matched = track.matched.clone()
    matched[21:] = torch.eye(4).double()
    target = torch.tensor([23])
    one = make_views(track, track.recorded, target, 3).view
    other = replace(track, ranges_m=later, matched=matched)
    two = make_views(other, track.recorded, target, 3).view
    assert torch.equal(one.seen_m, two.seen_m)
    assert torch.equal(one.hints, two.hints)
    assert torch.equal(one.motion, two.motion)


def test_the_mirror_of_a_view_is_the_view_of_the_mirrored_world(track):
    flip = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0])).double()
    world = Track(
        track.ranges_m.flip(-1),
        track.angles_rad,
        flip @ track.recorded @ flip,
        flip @ track.matched @ flip,
    )
    targets = torch.arange(10, 50)
    ours = mirrored(make_views(track, track.recorded, targets, 2), torch.ones(40) > 0)
    theirs = make_views(world, world.recorded, targets, 2)
    assert torch.equal(ours.truth_m.nan_to_num(0), theirs.truth_m.nan_to_num(0))
    assert torch.allclose(ours.view.motion, theirs.view.motion, atol=1e-5)
    # but for rounding at edges, and gaps whose two sides are equally near (some 3 %)
    for one, two in ((ours.view.seen_m, theirs.view.seen_m), (ours.view.hints, theirs.view.hints)):
        assert torch.isclose(one, two, atol=1e-3).double().mean() > 0.95


def test_backwards_in_time_is_the_reversed_recording(track):
    world = Track(
        track.ranges_m.flip(0), track.angles_rad, track.recorded.flip(0), track.matched.flip(0)
    )
    targets = torch.arange(10, 40)
    ours = make_views(track, track.recorded, targets, 2, direction=-1)
    theirs = make_views(world, world.recorded, SWEEPS - 1 - targets, 2)
    assert torch.allclose(ours.view.seen_m, theirs.view.seen_m)
    assert torch.allclose(ours.view.motion, theirs.view.motion, atol=1e-6)


def test_the_habits_of_the_odometry_are_found(track):
    learned = np.arange(SWEEPS) < 40
    fixed = corrected_poses(track, learned, ridge=0.5)
    steps = planar_motion(inverse(fixed[:-1]) @ fixed[1:]).numpy()
    said = planar_motion(inverse(track.recorded[:-1]) @ track.recorded[1:]).numpy()
    truth = said / HABIT
    for axis in (0, 2):
        before, after = (np.abs(one - truth)[40:, axis].mean() for one in (said, steps))
        assert after < 0.3 * before


def test_a_robust_slope_bears_outliers():
    features = np.random.default_rng(1).normal(size=(80, 2))
    values = features @ [0.5, -2.0]
    values[:6] += 50
    assert np.allclose(robust_slope(features, values, 1e-6), [0.5, -2.0], atol=0.05)


def test_errors_count_true_beams_only_and_charge_open_ones_the_whole_range():
    truth = torch.tensor([[1.0, torch.nan, 4.0], [torch.nan, torch.nan, 2.0]])
    predicted = torch.tensor([[1.5, 9.0, torch.nan], [0.0, 0.0, 2.0]])
    assert sweep_errors(predicted, truth).tolist() == [2.25, 0.0]


def test_comparison_tells_better_from_equal():
    rng = np.random.default_rng(2)
    noise = rng.normal(size=200)
    ours = np.stack([noise, noise + 0.01])
    others = {"worse": Baseline(noise + 0.5, "a"), "equal": Baseline(rng.permutation(noise), "b")}
    row = compared(ours, others, 10)
    assert row["interval"]["worse"][0] > 0
    assert row["interval"]["equal"][0] < 0 < row["interval"]["equal"][1]
    assert row["p"]["worse"] < 0.001 < 0.05 < row["p"]["equal"]
    assert row["seeds_better"] == {"worse": "2 of 2", "equal": "0 of 2"}
    # one block has two signs: as far out either way
    assert sign_flip_p(np.ones(10), 10) == 1.0


def test_the_whole_run_beats_persistence_and_a_warp_by_wrong_odometry(tmp_path, log, monkeypatch):
    source = tmp_path / "corridor.rawlog"
    source.write_bytes(b"drawn in the test")
    monkeypatch.setattr("armillary.experiments.lidar.run.read_rawlog", lambda path: log)
    learning = LearnConfig(steps=25, batch_size=8, width=8, farthest=3, ridge=1.0)
    config = LidarConfig(learning, seeds=(0,), blocks=3, horizons=(1, 3), block=6)
    result = predict_sweeps(source, tmp_path / "out", config)
    kept = json.loads((tmp_path / "out" / "lidar.json").read_text())
    assert kept["real_lidar"] == result["real_lidar"]
    assert {"command", "commit", "machine", "date", "settings", "method"} <= kept.keys()
    assert [fold["judged"] for fold in kept["data"]["folds"]] == [[0, 19], [20, 39], [40, 59]]
    for row in kept["real_lidar"]["horizon"].values():
        assert row["n"] == SWEEPS - config.reach
        assert row["model"] < row["rigid_warp"] < row["persistence"]
        assert row["interval"]["rigid_warp"][0] > 0
        counts = [fold["judged_sweeps"] for fold in kept["data"]["folds"]]
        gain = np.average(row["gain_by_fold"]["rigid_warp"], weights=counts)
        assert np.isclose(gain, row["rigid_warp"] - row["model"], atol=1e-3)
    assert kept["real_lidar"]["holds"]["persistence"]
    # again: nothing is trained, and nothing else comes out
    monkeypatch.setattr("armillary.experiments.lidar.run.learn", None)
    assert predict_sweeps(source, tmp_path / "out", config)["real_lidar"] == result["real_lidar"]


def test_together_is_better_than_the_last_sweep_alone(track):
    targets = torch.arange(10, 58)
    views = make_views(track, corrected_poses(track, np.ones(SWEEPS, bool), 1.0), targets, 3)
    one, together = (sweep_errors(views.view.seen_m[:, at], views.truth_m) for at in (1, TOGETHER))
    assert together.mean() < one.mean()

"""Every sensor is seen, any subset of the sensors will do, and clouds have no order."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import ENCODER, SIDE, normal, tiny_batch, tiny_config, with_streams

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.values import Batch
from armillary.models import JEPA, check_model, load_model, narrowed, save_model, untrained
from armillary.models.clouds import farthest
from armillary.models.config import STREAMS_OF
from armillary.spatial import farthest_points

BEAMS = tuple(np.linspace(-1.5, 1.5, 10).tolist())
ALL = tuple(STREAMS_OF)


def model_of(*sensors: str, reads: str = "grid", **changes) -> JEPA:
    sizes = {"cloud_tokens": 5, "cloud_near": 3, "cloud_points": 16, "scan_patch": 4}
    fan = {"azimuths_rad": BEAMS} if "scan" in sensors else {}
    config = tiny_config(sensors, **{**sizes, **fan, **changes})
    config = replace(config, encoder=replace(ENCODER, keypoints=3, reads=reads))
    model = untrained(config, 0)
    model.normalizer.fit(actions=normal(20, 2, seed=5) * 2 + 1)
    return model.eval()


def batch_of(seed: int = 0, points: int = 12) -> Batch:
    batch = tiny_batch(seed=seed)
    clouds = normal(3, 4, points, 3, seed=seed + 9)
    clouds[0, :, -3:] = math.nan
    ranges = normal(3, 4, len(BEAMS), seed=seed + 10).abs() + 0.2
    ranges[1, :, 2] = math.nan
    depth_m = batch.streams["depth_m"].clone()
    depth_m[..., 1:15, 1:15] = 0  # a hole, in which colour counts
    return with_streams(batch, {"points": clouds, "lidar": ranges, "depth_m": depth_m})


def without(batch: Batch, *names: str) -> Batch:
    streams = {name: value for name, value in batch.streams.items() if name not in names}
    return Batch(streams, batch.actions, batch.valid)


def seen(model: JEPA, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return model.encode(batch).tokens


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reads", ["grid", "places"])
@pytest.mark.parametrize("sensors", [*((name,) for name in ALL), ALL])
def test_every_sensor_is_seen_and_no_other_stream(sensors, reads):
    model, batch, other = model_of(*sensors, reads=reads), batch_of(), batch_of(seed=7)
    before = seen(model, batch)
    assert before.shape == (3, 4, 2, 4) and before.isfinite().all()
    for name in model.config.streams:
        wider = batch.streams["intrinsics"] * torch.tensor([2.0, 2.0, 1.0])[:, None]
        changed = wider if name == "intrinsics" else other.streams[name]
        assert (seen(model, with_streams(batch, {name: changed})) - before).abs().max() > 1e-4, name
    unseen = {n: other.streams[n] for n in other.streams if n not in model.config.streams}
    assert torch.equal(seen(model, with_streams(batch, unseen)), before)


def test_a_model_of_all_sensors_keeps_the_contract():
    check_model(lambda: (model_of(*ALL), batch_of(), normal(3, 2, 4, 2)))


def test_a_model_of_all_sensors_is_saved_and_read(tmp_path):
    model = model_of(*ALL, optional_sensors=ALL)
    save_model(model, tmp_path / "model")
    read = load_model(tmp_path / "model")
    assert read.config == model.config
    assert torch.equal(seen(read, batch_of()), seen(model, batch_of()))


@settings(deadline=None, max_examples=25)
@given(sensors=st.sets(st.sampled_from(ALL), min_size=1), reads=st.sampled_from(["grid", "places"]))
def test_any_subset_gives_the_latents_of_the_narrowed_model(sensors, reads):
    model, batch = model_of(*ALL, optional_sensors=ALL, reads=reads), batch_of()
    chosen = tuple(name for name in ALL if name in sensors)
    left_out = {name: False for name in ALL if name not in chosen}
    with torch.no_grad():
        latents = model.encode(batch, left_out).tokens
        masked = {name: torch.zeros(3, dtype=torch.bool) for name in left_out}
        by_mask = model.encode(batch, masked).tokens
    small = narrowed(model, chosen)
    assert small.config.sensors == chosen and latents.isfinite().all()
    # a sensor that is not there at all is what one is that is left out of every clip
    close(seen(small, batch), latents)
    close(by_mask, latents)


def test_a_sensor_is_left_out_of_its_clip_alone():
    model, batch = model_of("rgb", "points", "cloud", optional_sensors=("rgb", "cloud")), batch_of()
    kept = {"rgb": torch.tensor([True, False, True]), "cloud": torch.tensor([True, True, False])}
    with torch.no_grad():
        mixed = model.encode(batch, kept).tokens
        close(mixed[0], model.encode(batch).tokens[0])
        close(mixed[1], model.encode(batch, {"rgb": False}).tokens[1])
        close(mixed[2], model.encode(batch, {"cloud": False}).tokens[2])


@pytest.mark.parametrize("sensor", ["cloud", "filled_cloud", "scan"])
def test_no_work_is_done_for_clips_without_the_sensor(sensor, monkeypatch):
    model, batch = model_of("rgb", sensor, optional_sensors=(sensor,)), batch_of()
    made, seen_of = model.tokenizers[sensor], []
    monkeypatch.setattr(
        made,
        "forward",
        lambda first, *more: seen_of.append(len(first)) or type(made).forward(made, first, *more),
    )
    steps = batch.valid.shape[1]
    model.encode(batch, {sensor: torch.tensor([True, False, True])})
    model.encode(batch)
    assert seen_of == [2 * steps, 3 * steps]


@pytest.mark.parametrize("sensor", ["cloud", "scan"])
def test_weights_of_a_sensor_that_no_clip_has_get_a_gradient_of_nothing(sensor):
    model, batch = model_of("rgb", sensor, optional_sensors=(sensor,)), batch_of()
    model.encode(batch, {sensor: torch.zeros(3, dtype=torch.bool)}).tokens.square().sum().backward()
    for weight in model.tokenizers[sensor].parameters():
        assert weight.grad is not None and not weight.grad.any()


def test_streams_may_lack_where_the_config_says_so():
    model, batch = model_of("rgb", "depth", "scan", optional_sensors=("depth", "scan")), batch_of()
    lacking = without(batch, "depth_m", "lidar")
    close(seen(model, lacking), seen(narrowed(model, ("rgb",)), lacking))
    with pytest.raises(ShapeError, match="the data lack rgb"):
        model.encode(without(batch, "rgb"))
    free = model_of("rgb", "depth", optional_sensors=("rgb", "depth"))
    with pytest.raises(ShapeError, match="each of which may be missing, but not all"):
        free.encode(without(batch, "rgb", "depth_m"))


@pytest.mark.parametrize("sensors", [("cloud",), ("rgb", "cloud")])
def test_the_order_of_a_cloud_means_nothing(sensors):
    model, batch = model_of(*sensors), batch_of()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = {"points": batch.streams["points"][:, :, order]}
    close(seen(model, with_streams(batch, shuffled)), seen(model, batch))


def test_padding_of_a_cloud_means_nothing():
    model, batch = model_of("cloud"), batch_of()
    padded = torch.nn.functional.pad(batch.streams["points"], (0, 0, 0, 4), value=math.nan)
    close(seen(model, with_streams(batch, {"points": padded})), seen(model, batch))
    nothing = torch.full_like(batch.streams["points"], math.nan)
    assert seen(model, with_streams(batch, {"points": nothing})).isfinite().all()


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 9), seed=st.integers(0, 99))
def test_centres_are_those_of_the_twin_in_numpy(count, seed):
    cloud = normal(1, 9, 3, seed=seed)
    holes = torch.cat([cloud, torch.zeros(1, 4, 3)], 1)
    valid = torch.arange(13)[None] < 9
    rows, new = farthest(holes, valid, count)
    assert rows[0].tolist() == farthest_points(cloud[0].numpy(), count).tolist() and new.all()
    assert farthest(holes, valid, 12)[1].sum() == 9  # nothing is new after the last point


def turned(batch: Batch, angle_rad: float) -> Batch:
    """The camera rolled about its axis, with a lens that undoes it: each pixel sees what it saw."""
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    roll = torch.eye(4)
    roll[:2, :2] = torch.tensor([[cosine, -sine], [sine, cosine]])
    return with_streams(
        batch,
        {
            "world_from_camera": batch.streams["world_from_camera"] @ roll,
            "intrinsics": batch.streams["intrinsics"] @ roll[:3, :3],
        },
    )


def test_the_world_is_the_same_from_a_camera_that_stands_otherwise():
    """Pixels see the same places of the world; in the camera's frame they are others."""
    batch = batch_of()
    for sensor, same in (("points", True), ("depth_cloud", True), ("points_camera", False)):
        model = model_of(sensor)
        change = (seen(model, turned(batch, math.pi)) - seen(model, batch)).abs().max()
        assert (change < 1e-4) == same, sensor


def test_camera_and_world_moved_together():
    """The camera's frame does not tell; the world's does, unless its centre goes along."""
    batch, shift_m = batch_of(), torch.tensor([0.5, -0.3, 0.2])
    away = batch.streams["world_from_camera"].clone()
    away[..., :3, 3] += shift_m
    moved = with_streams(batch, {"world_from_camera": away})
    camera = model_of("points_camera")
    assert torch.equal(seen(camera, moved), seen(camera, batch))
    for sensor in ("points", "depth_cloud"):
        world = model_of(sensor)
        before = seen(world, batch)
        assert (seen(world, moved) - before).abs().max() > 1e-3
        world.normalizer.point_mean_m += shift_m
        close(seen(world, moved), before)


def test_read_by_places_a_world_map_does_not_care_which_pixel_saw_what():
    """Patches in another order, each with its rays: the same latents; not so read by the grid."""
    batch = batch_of()
    flipped = {"depth_m": batch.streams["depth_m"].flip(3)}
    lens = batch.streams["intrinsics"].clone()
    lens[..., 0, 0] *= -1
    lens[..., 0, 2] = SIDE - 1 - lens[..., 0, 2]
    flipped["intrinsics"] = lens
    # stride 1: with every second pixel the mirror would keep others
    for reads, same in (("places", True), ("grid", False)):
        model = model_of("depth_cloud", "points", reads=reads, point_stride=1, cloud_points=256)
        columns = model.tokenizers["points"].embed.weight.data[:, :192]
        columns.copy_(columns[:, ::64].repeat_interleave(64, 1))  # alike for all pixels of a patch
        change = (seen(model, with_streams(batch, flipped)) - seen(model, batch)).abs().max()
        assert (change < 1e-3) == same, (reads, change)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optional_sensors": ("depth",)}, "names 'depth', which is not in model.sensors"),
        ({"cloud_near": 300}, "cloud_points no fewer"),
        ({"azimuths_rad": (0.0,), "elevations_rad": (0.0, 1.0)}, "2 for 1 beams"),
    ],
)
def test_shapes_that_cannot_be(changes, said):
    with pytest.raises(ConfigError, match=said):
        tiny_config(("rgb",), **changes)


def test_a_fan_must_be_known_and_fit():
    with pytest.raises(ConfigError, match=r"scan needs model\.azimuths_rad"):
        untrained(tiny_config(("scan",)), 0)
    short = with_streams(batch_of(), {"lidar": torch.ones(3, 4, 6)})
    with pytest.raises(ShapeError, match="sees lidar of 10 beams, the data have 6"):
        model_of("scan").encode(short)
    with pytest.raises(ConfigError, match="'depth' cannot be chosen"):
        narrowed(model_of("rgb"), ("depth",))

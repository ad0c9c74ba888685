"""Sensors left out by chance leave one; what is guessed of other sensors and views is learned."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.rng import generator, torch_generator
from armillary.core.values import Batch
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, untrained
from armillary.objectives import agreement_loss
from armillary.spatial import Change, hole_blobs, point_map
from armillary.training import AugmentConfig, Learner, ObjectiveConfig
from armillary.training.augment import augment, mirror
from armillary.training.sensor_dropout import draw_kept, halves
from armillary.training.terms.other_view import through_other_camera
from armillary.training.world_changes import WorldChanges, moved

SIDE = 16
SENSORS = ("rgb", "points", "depth_cloud")


def config(sensors=SENSORS, optional=SENSORS) -> JEPAConfig:
    encoder = EncoderConfig(
        image_size=SIDE, patch=8, patch_hidden=16, patch_width=8, hidden=16, tokens=2, width=4
    )
    return JEPAConfig(
        sensors=sensors,
        encoder=encoder,
        predictor=PredictorConfig(memory=8, hidden=8),
        optional_sensors=optional,
        cloud_points=16,
        cloud_tokens=4,
        cloud_near=4,
    )


def clips(count: int = 3, steps: int = 5, seed: int = 0) -> Batch:
    rng = torch_generator("test-other-sight", seed)
    pose = torch.eye(4).repeat(count, steps, 1, 1)
    pose[..., :3, 3] = torch.randn(count, steps, 3, generator=rng)
    streams = {
        "rgb": torch.randint(0, 256, (count, steps, SIDE, SIDE, 3), generator=rng).to(torch.uint8),
        "depth_m": torch.rand(count, steps, SIDE, SIDE, generator=rng) + 0.5,
        "world_from_camera": pose,
        "intrinsics": torch.tensor([[20.0, 0, 7.5], [0, 20.0, 7.5], [0, 0, 1]]).expand(
            count, steps, 3, 3
        ),
    }
    actions = torch.randn(count, steps - 1, 2, generator=rng)
    return Batch(streams, actions, torch.ones(count, steps, dtype=torch.bool))


def two_cameras(seed: int = 0) -> Batch:
    one, other = clips(seed=seed), clips(seed=seed + 1)
    more = {
        "rgb_1": other.streams["rgb"],
        "depth_1": other.streams["depth_m"],
        "world_from_camera_1": other.streams["world_from_camera"],
    }
    return Batch({**one.streams, **more}, one.actions, one.valid)


@settings(deadline=None)
@given(
    share=st.floats(0.0, 0.99),
    optional=st.sets(st.sampled_from(SENSORS)),
    seed=st.integers(0, 1000),
)
def test_dropout_leaves_at_least_one_sensor_in_every_clip(share, optional, seed):
    names = tuple(name for name in SENSORS if name in optional)
    kept = draw_kept(config(optional=names), share, 16, torch_generator("test", seed))
    assert {*kept} == optional
    used = torch.stack([kept.get(name, torch.ones(16, dtype=torch.bool)) for name in SENSORS])
    assert used.any(0).all()


def test_dropout_drops_as_often_as_it_says():
    kept = draw_kept(config(), 0.3, 20_000, torch_generator("test", 0))
    # of all three dropped (0.027) one is spared, each in a third of these
    for used in kept.values():
        assert 1 - used.float().mean() == pytest.approx(0.3 - 0.027 / 3, abs=0.01)


@pytest.mark.parametrize("optional", [("rgb", "pose", "depth_cloud"), ("rgb", "pose"), ("pose",)])
def test_a_camera_pose_alone_is_no_way_to_see(optional):
    sees = config(("rgb", "pose", "depth_cloud"), optional)
    kept = draw_kept(sees, 0.5, 20_000, torch_generator("test", 0))
    every = torch.ones(20_000, dtype=torch.bool)
    assert (kept.get("rgb", every) | kept.get("depth_cloud", every)).all()
    assert kept["pose"].float().mean() == pytest.approx(0.5, abs=0.02)
    if len(optional) == 3:  # of four ways not to see with two, one is made to see with either
        assert kept["rgb"].float().mean() == pytest.approx(0.5 + 0.25 / 2, abs=0.02)


@given(seed=st.integers(0, 1000))
def test_halves_are_two_parts_of_all(seed):
    one, other = halves(config(), torch_generator("test", seed))
    assert all(one[name] != other[name] for name in SENSORS)
    assert 1 <= sum(one.values()) <= 2
    # with the camera's pose alone nothing is seen: both have it
    one, other = halves(config(("rgb", "pose", "points"), ()), torch_generator("test", seed))
    assert one["pose"] and other["pose"]
    assert one["rgb"] != other["rgb"] and one["points"] != other["points"]


def test_agreement_moves_the_guess_alone():
    guessed, came = torch.randn(4, 6, requires_grad=True), torch.randn(4, 6, requires_grad=True)
    loss = agreement_loss(guessed, came)
    loss.backward()
    assert guessed.grad is not None and came.grad is None
    came = came.detach()
    assert float(agreement_loss(came, 3 * came)) == pytest.approx(0, abs=1e-6)
    assert float(agreement_loss(came, -came)) == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize(
    "terms", [{"cross_modal": 1.0}, {"other_view": 1.0}, {"sensor_dropout": 0.5}]
)
def test_terms_are_learned_and_repeat_themselves(terms):
    objective = ObjectiveConfig(rollout=1.0, variance=1.0, rollout_steps=2, **terms)
    learner, batch = Learner(untrained(config(), 0), objective, 0), two_cameras()
    optimizer = torch.optim.AdamW(learner.parameters(), 1e-2)
    assert learner(batch, 0)[0].keys() == objective.weights.keys()
    assert all(
        torch.equal(one, other)
        for one, other in zip(
            learner(batch, 3)[0].values(), learner(batch, 3)[0].values(), strict=True
        )
    )
    losses = []
    for _ in range(30):
        found, _ = learner(batch, 0)
        loss = sum(objective.weights[name] * term for name, term in found.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] and np.isfinite(losses).all()


def test_the_other_camera_is_seen_from_where_it_stands():
    batch = two_cameras()
    there = through_other_camera(batch, config())
    assert torch.equal(there.streams["depth_m"], batch.streams["depth_1"])
    assert torch.equal(there.streams["world_from_camera"], batch.streams["world_from_camera_1"])
    with pytest.raises(ShapeError, match="needs two cameras; the data lack depth_1, rgb_1"):
        through_other_camera(clips(), config())


@pytest.mark.parametrize(
    ("sensors", "terms", "said"),
    [
        (("rgb",), {"cross_modal": 1.0}, "needs two sensors or more, and the model has rgb"),
        (("cloud",), {"other_view": 1.0}, "needs a camera"),
        (("rgb",), {"sensor_dropout": 0.5}, "needs model.optional_sensors"),
    ],
)
def test_terms_that_cannot_be(sensors, terms, said):
    with pytest.raises(ConfigError, match=said):
        Learner(untrained(config(sensors, ()), 0), ObjectiveConfig(**terms), 0)


def places(batch: Batch, camera: str = "") -> torch.Tensor:
    depth = batch.streams[f"depth{camera}" if camera else "depth_m"]
    pose = batch.streams[f"world_from_camera{camera}"]
    return point_map(depth, batch.streams["intrinsics"], pose)[0]


def test_a_changed_world_stays_true_to_itself():
    """Points of all cameras, clouds and what actions lead to go to where the change says."""
    batch = two_cameras()
    cloud = places(batch).flatten(2, 3)[:, :, :20]
    batch = Batch({**batch.streams, "points": cloud}, batch.actions, batch.valid)
    changes = [Change(0.3 * k + 0.2, 1.1, (0.1, -0.2 * k, 0.3)) for k in range(3)]
    after = moved(batch, changes, (0, 1), 1)
    for clip, change in enumerate(changes):
        for camera in ("", "_1"):
            expected = change.points(places(batch, camera)[clip].numpy())
            np.testing.assert_allclose(places(after, camera)[clip], expected, atol=1e-5)
        expected = change.points(cloud[clip].numpy())
        np.testing.assert_allclose(after.streams["points"][clip], expected, atol=1e-5)
        flat = np.pad(batch.actions[clip].numpy(), ((0, 0), (0, 1)))
        np.testing.assert_allclose(after.actions[clip], change.vectors(flat)[:, :2], atol=1e-5)
    assert torch.equal(after.streams["rgb"], batch.streams["rgb"])


def test_every_world_step_of_a_model_step_is_moved():
    batch = two_cameras()
    assert batch.actions is not None
    twice = Batch(batch.streams, torch.cat([batch.actions, 2 * batch.actions], -1), batch.valid)
    changes = [Change(0.3 * k + 0.2, 1.1, (0.1, 0.0, 0.0)) for k in range(3)]
    once, held = moved(batch, changes, (0, 1), 1), moved(twice, changes, (0, 1), frame_skip=2)
    assert once.actions is not None and held.actions is not None
    torch.testing.assert_close(held.actions, torch.cat([once.actions, 2 * once.actions], -1))


def test_a_mirrored_world_is_mirrored_in_every_camera():
    batch, chosen = two_cameras(), torch.tensor([True, False, True])
    after = mirror(batch, chosen, AugmentConfig(mirrored_actions=(0,)), 1)
    signs = torch.tensor([-1.0, 1.0, 1.0])
    for camera in ("", "_1"):
        expected = (places(batch, camera) * signs).flip(3)
        torch.testing.assert_close(places(after, camera)[0], expected[0], atol=1e-5, rtol=1e-5)
        assert torch.equal(places(after, camera)[1], places(batch, camera)[1])


def test_depth_is_worsened_and_nothing_else():
    world = WorldChanges(depth_noise=0.02, depth_holes=0.1, depth_edge_holes=0.5)
    batch = clips()
    after = augment(batch, AugmentConfig(world=world), generator("test", 0), 1)
    before_m, after_m = batch.streams["depth_m"], after.streams["depth_m"]
    lost = (after_m == 0).float().mean()
    assert 0.08 < lost < 0.6 and after_m.isfinite().all()
    error = (after_m - before_m)[after_m > 0].abs()
    assert 0.002 < error.mean() < 0.05
    assert all(
        torch.equal(after.streams[name], batch.streams[name])
        for name in batch.streams
        if name != "depth_m"
    )
    assert augment(batch, AugmentConfig(), generator("test", 0), 1) is batch


def test_holes_stay_where_they_are_for_a_clip():
    batch = clips()
    streams = {**batch.streams, "depth_m": torch.ones(3, 5, 32, 32)}
    full = Batch(streams, batch.actions, batch.valid)
    holes = AugmentConfig(world=WorldChanges(depth_holes=0.25))
    lost = augment(full, holes, generator("test", 0), 1).streams["depth_m"] == 0
    assert lost.flatten(2).sum(-1).eq(256).all()  # of each picture, to the pixel
    assert torch.equal(lost, lost[:, :1].expand_as(lost))
    assert not torch.equal(lost[0], lost[1])


def test_holes_that_flicker_lie_elsewhere_in_every_frame():
    streams = {**clips().streams, "depth_m": torch.ones(3, 5, 32, 24)}
    holes = AugmentConfig(world=WorldChanges(depth_holes=0.25, flicker=True))
    after = augment(Batch(streams, None, torch.ones(3, 5).bool()), holes, generator("test", 0), 1)
    lost = (after.streams["depth_m"] == 0).flatten(0, 1)
    assert lost.flatten(1).sum(-1).eq(192).all()
    assert len({picture.numpy().tobytes() for picture in lost}) == 15
    # moved as they are: a clip's pictures have the same spectrum
    spectra = torch.fft.fft2(lost.float()).abs().unflatten(0, (3, 5))
    torch.testing.assert_close(spectra, spectra[:, :1].expand_as(spectra), atol=1e-3, rtol=1e-3)


def test_holes_that_were_moved_round_are_cut_nowhere():
    lost = hole_blobs((300, 32, 32), generator("test", 0), 0.3, tiles=True)
    cut = hole_blobs((300, 32, 32), generator("test", 0), 0.3)
    for axis in (1, 2):
        changes = (lost != np.roll(lost, 1, axis)).mean((0, 3 - axis))  # from each line to the next
        assert abs(changes[0] - changes[1:].mean()) < 0.02
        seam = (cut != np.roll(cut, 1, axis)).mean((0, 3 - axis))[0]
        assert seam > 3 * changes[0]  # a test that can fail


def test_what_cannot_flicker_is_refused():
    with pytest.raises(ConfigError, match="flicker needs depth_holes above 0"):
        WorldChanges(flicker=True)


def test_points_are_dropped():
    batch = Batch({"points": torch.zeros(3, 5, 400, 3)}, None, torch.ones(3, 5).bool())
    after = augment(
        batch, AugmentConfig(world=WorldChanges(point_dropout=0.25)), generator("t", 0), 1
    )
    assert math.isclose(after.streams["points"][..., 0].isnan().float().mean(), 0.25, abs_tol=0.03)


def test_actions_of_unknown_axes_are_refused():
    world = WorldChanges(yaw_rad=0.5)
    with pytest.raises(ConfigError, match="must name those of the 2 dimensions of a world step"):
        augment(clips(), AugmentConfig(world=world), generator("test", 0), 1)
    with pytest.raises(ConfigError, match="in pairs x, y"):
        WorldChanges(actions=(0,))
    ranges = Batch({"lidar": torch.ones(1, 2, 3)}, None, torch.ones(1, 2).bool())
    with pytest.raises(ConfigError, match="beams have no mirror image"):
        mirror(ranges, torch.tensor([True]), AugmentConfig(), 1)

"""Teleports are what they say; matching leaves a judge of pixels no advantage."""

import numpy as np
import pytest
import torch

from armillary.core.values import Batch, Latent
from armillary.understanding import calibrate
from armillary.understanding.suites.teleport import match_at_least, score_clips
from armillary.understanding.suites.teleport_clips import LEAST_JUMP_M, Clip, record_clips

STEPS = 10


class Reader:
    """Reads a place from one pixel; the pixels beside it flicker and mean nothing."""

    def encode(self, batch):
        return Latent(batch.streams["rgb"][:, :, 0, 0, :1].float()[:, :, None], batch.actions)

    def rollout(self, latent, plans):
        return latent.tokens[:, None, -1:] + plans.cumsum(dim=2)[:, :, :, None]


def _clip(seed, event=None):
    rng = np.random.default_rng(seed)
    moves = rng.integers(-5, 6, size=(STEPS - 1, 1))
    place = 128 + np.concatenate([[[0]], moves.cumsum(axis=0)])[:, 0] + rng.integers(-1, 2, STEPS)
    if event is not None:
        place[event:] += 30 if place[event] < 128 else -30
    rgb = rng.integers(0, 12, size=(STEPS, 4, 4, 3)).astype(np.uint8)
    rgb[:, 0, 0, 0] = place.clip(0, 255)
    batch = Batch(
        {"rgb": torch.from_numpy(rgb)[None]},
        torch.from_numpy(moves).float()[None],
        torch.ones(1, STEPS, dtype=torch.bool),
    )
    return Clip(batch, "explore" if event is None else "teleport", event)


@pytest.fixture(scope="module")
def study():
    model = Reader()
    normal = [_clip(seed) for seed in range(60)]
    streams = torch.cat([clip.batch.streams["rgb"] for clip in normal])
    actions = torch.cat([clip.batch.actions for clip in normal])
    whole = Batch({"rgb": streams}, actions, torch.ones(60, STEPS, dtype=torch.bool))
    clips = [_clip(seed, event=int(5 + seed % 5)) for seed in range(100, 120)]
    return score_clips(model, calibrate(model, whole), clips + [_clip(s) for s in range(200, 260)])


def test_a_model_that_knows_the_law_finds_every_teleport(study):
    assert study.scores["plain"]["auroc"] == 1.0
    assert study.scores["auroc"] == study.scores["matched"]["auroc"] == 1.0
    assert study.scores["localisation"]["accuracy"] == 1.0
    assert study.scores["localisation"]["chance"] == pytest.approx(1 / 9)
    assert study.scores["normal_surprise"] == pytest.approx(1, abs=0.2)


def test_matched_leaves_pixels_at_chance_or_below(study):
    matched = study.scores["matched"]
    assert study.scores["plain"]["auroc_pixel_difference"] > 0.55
    assert matched["auroc_pixel_difference"] <= 0.5
    assert matched["pixel_change_possible"] >= matched["pixel_change_impossible"]
    assert matched["n_impossible"] == matched["n_possible"]
    assert matched["n_impossible"] + matched["without_partner"] == 20
    assert study.scores["plain"]["n_possible"] == 60 * 9


def test_the_example_is_the_first_teleport(study):
    assert study.example.event == 5
    assert study.example.surprise.argmax() + 1 == 5
    assert study.example.rgb.shape == (STEPS, 4, 4, 3)


def test_matching_by_hand():
    pixels = np.array([5.0, 3.0, 9.0, 4.0, 6.0, 1.0, 3.5])
    impossible = np.array([True, True, True, False, False, False, False])
    # 9 has no partner; 5 takes 6; 3 takes the nearest that is left, 3.5
    assert match_at_least(pixels, impossible).tolist() == [0, 4, 1, 6]


def test_matching_never_takes_a_partner_twice_and_never_a_smaller_change():
    rng = np.random.default_rng(0)
    pixels, impossible = rng.random(300), np.arange(300) < 100
    pairs = match_at_least(pixels, impossible).reshape(-1, 2)
    assert len(np.unique(pairs)) == pairs.size
    assert (pixels[pairs[:, 1]] >= pixels[pairs[:, 0]]).all()


def test_without_any_partner_the_study_says_so():
    model = Reader()
    clips = [_clip(1, event=6)]
    dull = _clip(2)
    dull = Clip(
        Batch({"rgb": dull.batch.streams["rgb"] * 0}, dull.batch.actions, dull.batch.valid), "sweep"
    )
    calibration = calibrate(model, _clip(3).batch)
    scores = score_clips(model, calibration, [*clips, dull]).scores
    assert scores["matched"]["without_partner"] == 1
    assert "No teleport found" in scores["matched"]["note"]


def test_clips_of_the_tabletop_repeat_to_the_bit_and_hold_one_jump():
    settings = {"image_size": 32, "samples": 0}
    first = record_clips("teleport", 2, 8, 3, settings=settings)
    again = record_clips("teleport", 2, 8, 3, settings=settings)
    for one, other in zip(first, again, strict=True):
        assert one.event == other.event
        assert 5 <= one.event < 8
        assert one.jump_m >= LEAST_JUMP_M
        for name, values in one.batch.streams.items():
            assert torch.equal(values, other.batch.streams[name])
    assert not torch.equal(first[0].batch.streams["rgb"], first[1].batch.streams["rgb"])


def test_a_frame_skip_concatenates_actions_in_order():
    settings = {"image_size": 16, "samples": 0, "sensors": ("rgb",)}
    single = record_clips("sweep", 1, 9, 0, settings=settings)[0].batch
    double = record_clips("sweep", 1, 5, 0, frame_skip=2, settings=settings)[0].batch
    assert torch.equal(double.actions, single.actions.reshape(1, 4, 4))
    assert torch.equal(double.streams["rgb"], single.streams["rgb"][:, ::2])

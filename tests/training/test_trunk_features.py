"""Features of a trunk are made once, are those of live pictures, and train a model like pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_run import CLIP, CONFIG, VIDEO, episode

from armillary.data import Cache, Windows
from armillary.data.derived import Derivation, derived
from armillary.models import load_model
from armillary.models.trunks import FEATURES, Pin, open_trunk
from armillary.training import train
from armillary.training.trunk_features import with_trunk_features

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
EVERY = np.arange(3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trunk")
    torch.manual_seed(0)
    network = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=1, image_size=56
    )
    transformers.Dinov2Model(network).save_pretrained(folder)
    facts = open_trunk(str(folder)).facts
    return replace(
        VIDEO,
        encoder=replace(VIDEO.encoder, stem="patches"),
        trunk=str(Pin(str(folder), facts.sha256)),
        trunk_channels=32,
        trunk_width=8,
    )


def cache():
    return Cache.from_episodes([episode(number, actions=False) for number in range(3)], 16)


def test_kept_features_are_those_of_the_pictures(model):
    with_features = with_trunk_features(cache(), model, EVERY[:2], 0)
    assert with_features.arrays[FEATURES].dtype == np.float16
    assert with_features.arrays[FEATURES].shape == (36, 4, 8)
    assert with_features.kinds[FEATURES] == "derived"
    # the projection is fitted on training episodes alone
    other = with_trunk_features(cache(), model, EVERY, 0)
    assert not np.array_equal(other.arrays[FEATURES], with_features.arrays[FEATURES])


def test_a_derived_stream_is_made_once_and_kept_with_its_constants(tmp_path):
    whole, made = replace(cache(), path=tmp_path / "cache"), []

    def begin():
        made.append(1)
        squares = np.arange(36, dtype=np.float32) ** 2
        return Derivation(lambda first, last: squares[first:last], {"root": np.array(2.0)})

    first = derived(whole, "squares", "a" * 20, begin)
    second = derived(whole, "squares", "a" * 20, begin)
    assert made == [1] and float(second.constants["root"]) == 2
    np.testing.assert_array_equal(second.arrays["squares"], np.arange(36) ** 2)
    np.testing.assert_array_equal(first.arrays["squares"], second.arrays["squares"])
    derived(whole, "squares", "b" * 20, begin)
    assert made == [1, 1]


def test_a_model_with_a_trunk_trains_resumes_and_sees_live_pictures(model, tmp_path):
    kept = with_trunk_features(cache(), model, EVERY, 0)
    config = replace(CONFIG, objective=replace(CONFIG.objective, inverse_dynamics=0.0))
    windows = Windows(kept, EVERY, CLIP, streams=("rgb", FEATURES))
    train(model, config, windows, None, tmp_path / "whole")

    def stop(done, *_):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model, config, windows, None, tmp_path / "stopped", progress=stop)
    train(model, config, windows, None, tmp_path / "stopped", resume=True)
    for file in ("model.safetensors", "normalizer.safetensors"):
        whole, stopped = (tmp_path / one / "model" / file for one in ("whole", "stopped"))
        assert whole.read_bytes() == stopped.read_bytes()
    trained = load_model(tmp_path / "whole" / "model")
    live = Windows(kept, EVERY, CLIP, streams=("rgb",)).gather(np.arange(4))
    with torch.no_grad():
        from_pictures = trained.encode(live).tokens
        from_features = trained.encode(windows.gather(np.arange(4))).tokens
    torch.testing.assert_close(from_pictures, from_features, atol=5e-3, rtol=5e-3)


def test_without_kept_features_the_projection_is_fitted_on_pictures(model, tmp_path):
    config = replace(CONFIG, objective=replace(CONFIG.objective, inverse_dynamics=0.0))
    windows = Windows(cache(), EVERY, CLIP, streams=("rgb",))
    train(model, replace(config, steps=2), windows, None, tmp_path / "run")
    tokenizer = load_model(tmp_path / "run" / "model").tokenizers["rgb"]
    assert float(tokenizer.projection.abs().sum()) > 0

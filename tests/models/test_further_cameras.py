"""Several colour cameras: all are seen, by the same weights, and one is as it was before."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from tiny_model import ENCODER, SIDE, normal, tiny_batch, tiny_config, with_streams

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.values import Batch
from armillary.models import JEPA, load_model, save_model, untrained
from armillary.models.config import JEPAConfig, config_values

TWO = ("rgb_1", "rgb_2")


def model_of(sensors=("rgb", "points"), cameras=TWO, **changes) -> JEPA:
    config = tiny_config(sensors, cameras=cameras, **changes)
    model = untrained(replace(config, encoder=replace(ENCODER, keypoints=3)), 0)
    model.normalizer.fit(actions=normal(20, 2, seed=5) * 2 + 1)
    return model.eval()


def batch_of(seed: int = 0) -> Batch:
    further = {name: tiny_batch(seed=seed + 7 + n).streams["rgb"] for n, name in enumerate(TWO)}
    return with_streams(tiny_batch(seed=seed), further)


def seen(model: JEPA, batch: Batch, **kept) -> torch.Tensor:
    with torch.no_grad():
        return model.encode(batch, kept or None).tokens


def test_every_camera_is_seen():
    model, batch = model_of(), batch_of()
    usual = seen(model, batch)
    for name in ("rgb", *TWO):
        other = with_streams(batch, {name: 255 - batch.streams[name]})
        assert (seen(model, other) - usual).abs().max() > 1e-3


def test_cameras_are_told_apart():
    model, batch = model_of(), batch_of()
    exchanged = {"rgb_1": batch.streams["rgb_2"], "rgb_2": batch.streams["rgb_1"]}
    assert (seen(model, with_streams(batch, exchanged)) - seen(model, batch)).abs().max() > 1e-3


def test_further_cameras_have_no_stem_of_their_own():
    one, three = model_of(cameras=()), model_of()
    assert {*three.tokenizers.state_dict()} == {*one.tokenizers.state_dict(), "camera_marks"}


def test_without_further_cameras_a_model_and_its_configuration_are_as_before():
    config = tiny_config(("rgb",))
    assert "cameras" not in config_values(config)
    assert config_values(replace(config, cameras=TWO))["cameras"] == TWO
    assert JEPAConfig(**config_values(config) | {
        name: getattr(config, name) for name in ("encoder", "predictor")
    }) == config  # fmt: skip
    assert "camera_marks" not in dict(model_of(cameras=()).named_parameters())


def test_a_missing_camera_and_another_size_are_named():
    model, batch = model_of(), batch_of()
    streams = {name: value for name, value in batch.streams.items() if name != "rgb_2"}
    with pytest.raises(ShapeError, match=r"lack rgb_2\."):
        model.encode(Batch(streams, batch.actions, batch.valid))
    small = {"rgb_1": batch.streams["rgb_1"][:, :, : SIDE // 2, : SIDE // 2]}
    with pytest.raises(ShapeError, match=f"sees rgb_1 of {SIDE}x{SIDE}, the data have 8x8"):
        model.encode(with_streams(batch, small))


def test_cameras_come_with_colour_or_not_at_all():
    model = model_of(optional_sensors=("rgb",))
    batch = batch_of()
    streams = {name: value for name, value in batch.streams.items() if not name.startswith("rgb")}
    blind = seen(model, Batch(streams, batch.actions, batch.valid))
    torch.testing.assert_close(seen(model, batch, rgb=False), blind)
    # one camera alone is not enough
    half = Batch(streams | {"rgb": batch.streams["rgb"]}, batch.actions, batch.valid)
    torch.testing.assert_close(seen(model, half), blind)
    used = torch.arange(len(batch.valid)) % 2 == 0
    some = seen(model, batch, rgb=used)
    torch.testing.assert_close(some[used], seen(model, batch)[used], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(some[~used], blind[~used], rtol=1e-4, atol=1e-5)


def test_a_vision_transformer_sees_them_too():
    blocks = replace(ENCODER, depth=1, heads=2, patch_hidden=16, tokens=1, stem="patches")
    config = replace(tiny_config(("rgb",), cameras=TWO), encoder=blocks)
    model, batch = untrained(config, 0).eval(), batch_of()
    usual = seen(model, batch)
    assert usual.shape == (*batch.valid.shape, 1, 4)
    other = with_streams(batch, {"rgb_2": 255 - batch.streams["rgb_2"]})
    assert (seen(model, other) - usual).abs().max() > 1e-4


def test_a_model_with_cameras_is_kept_and_loaded(tmp_path):
    model, batch = model_of(), batch_of()
    with torch.no_grad():
        model.tokenizers.camera_marks.normal_()
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert asdict(loaded.config)["cameras"] == TWO
    torch.testing.assert_close(seen(loaded, batch), seen(model, batch))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cameras": ("rgb",)}, "beside rgb, each once"),
        ({"cameras": ("rgb_1", "rgb_1")}, "beside rgb, each once"),
        ({"cameras": tuple(f"rgb_{n}" for n in range(1, 17))}, "at most 15"),
        ({"sensors": ("points",), "cameras": TWO}, "needs rgb among model.sensors"),
        ({"sensors": ("rgb",), "cameras": TWO, "trunk": "mobilenetv2"}, "sees one camera"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        tiny_config(**changes)

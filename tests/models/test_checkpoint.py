"""A model folder comes back to the bit, or is refused in one sentence, and runs nothing."""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tiny_model import SENSORS, normal, tiny_batch, tiny_model

from armillary.core.errors import CheckpointError, StorageError
from armillary.models import load_model, save_model, untrained

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tiny_model(), tmp_path / "model")
    return tmp_path / "model"


def refused(folder: Path, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def change_config(folder: Path, *path: str, value) -> None:
    document = json.loads((folder / "config.json").read_text())
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    (folder / "config.json").write_text(json.dumps(document))


def change_tensors(folder: Path, change, name: str = WEIGHTS) -> None:
    tensors = load_file(folder / name)
    change(tensors)
    save_file(tensors, folder / name)


@pytest.mark.parametrize(("sensors", "width"), [(SENSORS, 2), (("rgb",), 0), (("points",), 6)])
def test_a_model_comes_back_to_the_bit(tmp_path, sensors, width):
    model = tiny_model(sensors, width)
    save_model(model, tmp_path / "one", "# A card")
    loaded = load_model(tmp_path / "one")
    assert loaded.config == model.config and not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(map(torch.equal, loaded.state_dict().values(), model.state_dict().values()))
    batch = tiny_batch(action_width=width)
    latent = model.encode(batch)
    assert torch.equal(loaded.encode(batch).tokens, latent.tokens)
    plans = normal(3, 2, 4, width)
    assert torch.equal(loaded.rollout(latent, plans), model.rollout(latent, plans))
    save_model(loaded, tmp_path / "two", "# A card")
    for file in sorted((tmp_path / "one").iterdir()):
        assert (tmp_path / "two" / file.name).read_bytes() == file.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_saving_again_replaces_the_whole_folder(folder):
    save_model(tiny_model(seed=9), folder)
    assert torch.equal(
        load_model(folder).encode(tiny_batch()).tokens,
        tiny_model(seed=9).encode(tiny_batch()).tokens,
    )
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_loading_leaves_chance_alone(folder):
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    load_model(folder)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)


def test_a_missing_folder_or_file(tmp_path, folder):
    refused(tmp_path / "nowhere", "there is no such folder")
    (folder / "a-file").write_text("")
    refused(folder / "a-file", "there is no such folder")
    for name in ("normalizer.safetensors", WEIGHTS, "config.json"):
        (folder / name).unlink()
        refused(folder, f"{name}: there is no such file")


def test_whitened_colours_are_kept_and_fixed_ones_are_not_in_the_file(tmp_path):
    """Models from before whitening have no such scales, and are read as they were written."""
    fixed = tiny_model(("rgb",))
    save_model(fixed, tmp_path / "fixed")
    scales = load_file(tmp_path / "fixed" / "normalizer.safetensors")
    assert not any(name.startswith("colour") for name in scales)
    config = replace(fixed.config, encoder=replace(fixed.config.encoder, colours="whitened"))
    model = untrained(config, 0).eval()
    model.normalizer.fit_colours(torch.randint(0, 90, (500, 3), dtype=torch.uint8))
    save_model(model, tmp_path / "whitened")
    back = load_model(tmp_path / "whitened")
    batch = tiny_batch()
    with torch.no_grad():
        assert torch.equal(back.encode(batch).tokens, model.encode(batch).tokens)
        assert not torch.equal(back.encode(batch).tokens, fixed.encode(batch).tokens)


def test_a_missing_tensor(folder):
    change_tensors(folder, lambda tensors: tensors.pop("encoder.look.weight"))
    refused(folder, r"model.safetensors: tensor 'encoder.look.weight' is missing")


def test_a_missing_scale(folder):
    change_tensors(folder, lambda t: t.pop("action_std"), "normalizer.safetensors")
    refused(folder, r"normalizer.safetensors: tensor 'action_std' is missing")


def test_a_tensor_too_many(folder):
    change_tensors(folder, lambda tensors: tensors.update(backdoor=torch.zeros(3)))
    refused(folder, "tensor 'backdoor' does not belong to this model")


def test_a_tensor_of_another_shape(folder):
    def transpose(tensors):
        tensors["encoder.look.weight"] = tensors["encoder.look.weight"].T.contiguous()

    change_tensors(folder, transpose)
    refused(folder, r"'encoder.look.weight' has shape \(\d+, \d+\), expected \(\d+, \d+\)")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["encoder.look.bias", "action_mean"])
def test_a_tensor_that_is_not_finite(folder, name, value):
    file = WEIGHTS if "." in name else "normalizer.safetensors"
    change_tensors(folder, lambda tensors: tensors[name].__setitem__(0, value), file)
    refused(folder, f"tensor '{name}' holds NaN or infinity")


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_a_tensor_of_another_kind(folder, dtype):
    def cast(tensors):
        tensors["encoder.look.bias"] = torch.zeros_like(tensors["encoder.look.bias"]).to(dtype)

    change_tensors(folder, cast)
    refused(folder, "tensor 'encoder.look.bias' holds ")


class Trap:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["model.pt", "weights.bin", "x.pkl", "optimizer.pth", "A.CKPT"])
def test_a_pickle_in_the_folder(folder, tmp_path, name):
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "mark")))
    refused(folder, rf"{name}: holds a pickle, which can run code when it is loaded")
    assert not (tmp_path / "mark").exists()


def pickled(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Trap(mark)))


def torch_saved(path: Path, mark: Path) -> None:
    torch.save({"weight": Trap(mark)}, path)


def zipped(path: Path, mark: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", pickle.dumps(Trap(mark)))


def garbage(path: Path, mark: Path) -> None:
    path.write_bytes(np.random.Generator(np.random.Philox(1)).bytes(5000))


def emptied(path: Path, mark: Path) -> None:
    path.write_bytes(b"")


def cut_in_the_header(path: Path, mark: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def cut_in_the_weights(path: Path, mark: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def huge_header(path: Path, mark: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def reaching_out(path: Path, mark: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"1234")


@pytest.mark.parametrize(
    "damage",
    [
        pickled,
        torch_saved,
        zipped,
        garbage,
        huge_header,
        reaching_out,
        emptied,
        cut_in_the_header,
        cut_in_the_weights,
    ],
)
def test_weights_that_are_something_else(folder, tmp_path, damage):
    damage(folder / WEIGHTS, tmp_path / "mark")
    refused(folder, r"model.safetensors: not a safetensors file .* loads no other format")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["resnet", "os.system", "", None, 5, ["jepa"], {"a": 1}])
def test_an_unknown_architecture(folder, name):
    change_config(folder, "architecture", value=name)
    refused(folder, r"config.json: unknown architecture .* known: jepa")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "\x00", "[" * 100_000, '{"a": NaN}'])
def test_a_config_that_is_no_config(folder, text):
    (folder / "config.json").write_text(text)
    refused(folder, "config.json: ")


def test_a_config_that_is_no_text(folder):
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")
    refused(folder, "config.json: ")


@pytest.mark.parametrize("where", [(), ("encoder",), ("predictor",)])
def test_an_unknown_field(folder, where):
    change_config(folder, "config", *where, "__class__", value="os.system")
    refused(folder, "unknown field '__class__'; known: ")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("encoder", "width"), "4"),
        (("encoder", "width"), 4.0),
        (("encoder", "width"), True),
        (("encoder", "width"), None),
        (("encoder",), [1, 2]),
        (("encoder",), None),
        (("sensors",), "rgb"),
        (("sensors",), ["rgb", 3]),
        (("sensors",), ["lidar"]),
        (("sensors",), [["rgb"]]),
        (("sensors",), None),
        (("sensors",), {"rgb": 1}),
        (("action_width",), [2]),
        (("action_width",), -1),
        (("point_stride",), 0),
        (("encoder", "patch"), 0),
        (("encoder", "patch"), -8),
        (("encoder", "hidden"), -1),
        (("encoder", "keypoints"), -1),
        (("predictor", "memory"), -1),
        (("predictor", "hidden"), -4),
    ],
)
def test_a_field_of_another_kind(folder, path, value):
    change_config(folder, "config", *path, value=value)
    refused(folder, "config.json: config")


def test_a_model_that_sees_nothing(folder):
    change_config(folder, "config", "sensors", value=[])
    refused(folder, "no model has this configuration .A model needs at least one of rgb")


def test_no_config_at_all(folder):
    (folder / "config.json").write_text('{"architecture": "jepa"}')
    refused(folder, "an object was expected, got NoneType")


@pytest.mark.parametrize("digits", [5, 7, 9, 12, 18, 30, 4000, 5000])
@pytest.mark.parametrize("path", ["encoder.width", "encoder.hidden", "predictor.memory"])
def test_absurd_widths_are_refused_before_memory_is_taken(folder, path, digits):
    change_config(folder, "config", *path.split("."), value="HUGE")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"HUGE"', "1" + digits * "0"))
    began = time.process_time()
    refused(folder, "model|config")
    assert time.process_time() - began < 2


@pytest.mark.parametrize("side", [2**12, 2**20, 2**31, 2**40])
def test_an_absurd_picture_is_refused_before_memory_is_taken(folder, side):
    change_config(folder, "config", "encoder", "image_size", value=side)
    refused(folder, "model|config")


def test_what_is_in_no_file_is_bounded_too(tmp_path):
    """A model of clouds alone has no weight that depends on a picture's size, but rays for it."""
    save_model(tiny_model(("cloud",), 2), tmp_path / "model")
    change_config(tmp_path / "model", "config", "encoder", "image_size", value=800_000)
    refused(tmp_path / "model", "numbers are configured; refused as too many")


def test_nothing_in_the_folder_is_imported_or_run(folder, monkeypatch):
    mark = folder / "ran"
    code = f"import os; os.mkdir({str(mark)!r})"
    for name in ("jepa", "model", "config", "normalizer", "sitecustomize", "configuration_jepa"):
        (folder / f"{name}.py").write_text(code)
    (folder / "__init__.py").write_text(code)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    load_model(folder)
    new = {sys.modules[name] for name in set(sys.modules) - before}
    assert not mark.exists()
    assert not [m for m in new if str(getattr(m, "__file__", "")).startswith(str(folder))]


def full(tensors, path, metadata=None):
    """What safetensors raises on a full tmpfs, word for word."""
    raise SafetensorError(
        "Error while serializing: I/O error: No space left on device (os error 28)"
    )


def test_a_full_disk_is_one_sentence_and_the_old_model_is_kept(folder, monkeypatch):
    before = (folder / WEIGHTS).read_bytes()
    monkeypatch.setattr("armillary.models.checkpoint.save_file", full)
    with pytest.raises(StorageError, match="the disk is full; free some space"):
        save_model(tiny_model(seed=3), folder)
    assert (folder / WEIGHTS).read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_header_without_end_is_not_read(folder):
    file = folder / WEIGHTS
    body = file.read_bytes()
    file.write_bytes((1 << 30).to_bytes(8, "little") + body[8:])
    refused(folder, "a header of 1,073,741,824 bytes; at most 4,194,304 are read")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_a_number_of_the_config_is_finite(folder, value):
    change_config(folder, "config", "azimuths_rad", value=[value])
    refused(folder, "config.azimuths_rad: a finite number was expected")

"""The study of an untrained model: everything is written, and nothing is understood."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from armillary.cli.understand import _conclusions
from armillary.core.errors import ConfigError, FormatError, ShapeError
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, save_model, untrained
from armillary.services.making_quadruplets import make_set
from armillary.services.understand.published import understand_benchmark
from armillary.services.understand.seeds import understand_seeds
from armillary.services.understand.study import UnderstandConfig, understand_judge, understand_model
from armillary.services.view.folder import view
from armillary.understanding.suites.quadruplets import Judges, fresh_seed, suite_digest
from armillary.understanding.suites.quadruplets.judges import MotionEnergy

TINY = JEPAConfig(
    ("rgb",), EncoderConfig(patch=32, patch_hidden=8, patch_width=8, hidden=8, tokens=2, width=4),
    PredictorConfig(8, 8),
)  # fmt: skip
CONFIG = UnderstandConfig(
    count=4, fresh=3, dev=3, controls=2, twins=2, hidden=12, concepts=("colour", "spatial")
)


def test_a_study_of_an_untrained_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(untrained(replace(TINY, action_width=2), 0), folder)
    found = understand_model(folder, tmp_path / "out", CONFIG, command="again")
    assert found == json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["concepts"].keys() == {"colour", "spatial"}
    row = found["concepts"]["colour"]
    wanted = {"d_accuracy", "wilson95", "both_right", "pair", "auroc", "gain_over_copy", "p_holm"}
    assert wanted | {"headline"} <= row.keys()
    assert {"constant", "coin", "one_frame", "untrained_0_model"} <= found["controls"].keys()
    for judge, share in (("oracle", 100), ("inverted_oracle", 0)):
        assert found["controls"][judge]["concepts"]["spatial"]["d_accuracy"] == share
    assert found["controls"]["constant"]["concepts"]["colour"]["d_accuracy"] == 50
    assert {"model", "last_seen", "constant_velocity"} <= found["hidden_position"].keys()
    assert found["probes"].keys() == {"place", "velocity", "size", "shape", "hue", "contact"}
    for moments in found["probes"].values():
        assert moments.keys() == {"in_view", "hidden"}
    assert 0 < row["localised_by_chance"] < 50
    page = view(tmp_path / "out")
    assert page.kind == "understanding"
    assert page.page.read_bytes() == (tmp_path / "out" / "page.html").read_bytes()
    assert fresh_seed(folder / "model.safetensors") == fresh_seed(folder / "model.safetensors")


@pytest.mark.slow  # three whole questionings: a minute
def test_where_it_is_asked_is_no_part_of_what_is_asked(tmp_path: Path, monkeypatch) -> None:
    few = replace(CONFIG, concepts=("colour",), controls=1, count=2, dev=2, twins=1, hidden=8)
    save_model(untrained(replace(TINY, action_width=2), 0), tmp_path / "model")
    here = understand_model(tmp_path / "model", tmp_path / "here", few)
    assert not {"on", "workers"} & here["counts"].keys()
    with pytest.raises(ConfigError, match="--on takes ray or ray://HOST:PORT, got 'rya'"):
        understand_model(tmp_path / "model", tmp_path / "here", replace(few, on="rya"))
    ray = replace(few, on="ray", workers=3)

    def run(address, opener, tasks, workers):
        assert (address, workers, opener.factory.folder.is_absolute()) == (None, 3, True)
        return map(opener(), tasks)

    monkeypatch.setattr("armillary.understanding.suites.ask_on_ray.run_on_ray", run)
    monkeypatch.setattr("armillary.services.understand.study.ray_address", lambda on: None)
    monkeypatch.setattr("armillary.services.understand.study.connected", lambda *_: nullcontext())
    monkeypatch.chdir(tmp_path)
    assert understand_model("model", Path("here"), ray) == here
    found = understand_model("model", Path("ray"), ray)
    own = ("command", "commit", "date", "machine")
    assert all(found[key] == here[key] for key in here if key not in own)


def test_a_study_that_cannot_be_drawn_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "said").mkdir()
    own = {"suite_sha256": suite_digest()}
    sentences = {
        "is not a result of `armillary understand`": {"concepts": {}},
        "with another version of the suite. Open the page": own | {"suite_sha256": "0"},
        "a study of a pretrained model": own,
        "is damaged .* Run armillary understand again": own | {"shown": {}, "mean_headline": "x"},
    }
    for sentence, result in sentences.items():
        (tmp_path / "result.json").write_text(json.dumps(result))
        with pytest.raises(FormatError, match=sentence):
            view(tmp_path)


@pytest.mark.slow  # two trainings and their questionings: 40 s
def test_all_seeds_are_shown(tmp_path: Path) -> None:
    few = replace(CONFIG, concepts=("colour",), controls=0, count=2, dev=2, twins=1, hidden=8)
    for seed in (0, 1):
        save_model(untrained(replace(TINY, action_width=2), seed), tmp_path / f"seed_{seed}")
    models = [str(tmp_path / f"seed_{seed}") for seed in (0, 1)]
    found = understand_seeds(models, tmp_path / "out", few)
    assert found == json.loads((tmp_path / "out" / "result.json").read_text())
    assert [seed["model"] for seed in found["seeds"]] == ["seed_0", "seed_1"]
    shares = [seed["concepts"]["colour"]["d_accuracy"] for seed in found["seeds"]]
    assert found["concepts"]["colour"] == sum(shares) / 2
    assert any("after 10 hidden steps" in line for line in _conclusions(found, tmp_path))
    with pytest.raises(ConfigError, match="need different names; got seed_0, seed_0"):
        understand_seeds([models[0]] * 2, tmp_path / "out", few)


def shouts():
    return Judges({"model": MotionEnergy()})


@pytest.mark.slow  # 15 s
def test_any_judge_of_yours_is_asked_the_same(tmp_path: Path) -> None:
    found = understand_judge(shouts, tmp_path / "out", CONFIG)
    assert found == json.loads((tmp_path / "out" / "result.json").read_text())
    assert {row["d_accuracy"] for row in found["concepts"].values()} == {50.0}
    assert found["mean_headline"] == 50


def test_a_model_of_other_pictures_is_refused(tmp_path: Path) -> None:
    save_model(untrained(replace(TINY, action_width=4), 0), tmp_path / "model")
    with pytest.raises(ShapeError, match="Record the world stage and train on it"):
        understand_model(tmp_path / "model", tmp_path / "out", CONFIG)


def test_a_published_benchmark_is_asked_from_its_folder(tmp_path: Path) -> None:
    save_model(untrained(replace(TINY, action_width=0), 0), tmp_path / "model")
    rng, data = np.random.default_rng(0), tmp_path / "data"
    (data / "solidity").mkdir(parents=True)
    for number in (1, 2):
        clips = rng.integers(0, 256, (2, 2, 6, 64, 64, 3), dtype=np.uint8)
        np.savez(
            data / "solidity" / f"{number}.npz", possible_image=clips[0], impossible_image=clips[1]
        )
    found = understand_benchmark(
        tmp_path / "model", "physical_concepts", data, tmp_path / "out", command="again"
    )
    assert found == json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["clips"] == 8 and found["concepts"]["solidity"]["groups"] == 2
    assert len((tmp_path / "out" / "said.jsonl").read_text().splitlines()) == 8
    assert {"copy_last", "copy_last_pixels"} <= found["controls"].keys()
    with pytest.raises(ConfigError, match="Did you mean 'intphys'"):
        understand_benchmark(tmp_path / "model", "intfys", data, tmp_path / "out")


def test_the_set_is_the_same_by_any_number_of_workers() -> None:
    one, two = (make_set(2, workers) for workers in (1, 2))
    assert one["sha256"] == two["sha256"] and one["concepts"] == two["concepts"]
    assert one["sha256"] != make_set(2, 1, seed=1)["sha256"]
    with pytest.raises(ConfigError, match="at least 1; got 0 and 1"):
        make_set(0, 1)

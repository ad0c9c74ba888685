"""Compare words: a whole small study, from nothing, and again from what is there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from armillary.cli.main import main
from armillary.core.errors import ConfigError, FormatError
from armillary.core.files import read_json, write_json
from armillary.core.progress import silent
from armillary.data import open_dataset
from armillary.words import WordsConfig, compare_words
from armillary.words.asking import ask_pairs, states_of
from armillary.words.pairs import draw_pairs

SMALL = WordsConfig(
    seeds=(0, 1),
    episodes=14,
    judged=5,
    steps=9,
    world_steps=2,
    variants=("T-probe", "T-noise"),
    goals=2,
    candidates=8,
    rounds=1,
    plan_steps=2,
    replan=2,
    pairs=3,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("words")
    result = compare_words(out, SMALL, command="armillary compare words")
    assert json.loads(json.dumps(result)) == read_json(out / "result.json")
    return out, result


def test_a_study_measures_every_variant(study) -> None:
    _, result = study
    assert result["n"]["seeds"] == 2
    errors = result["state_error_cm"]
    assert {"W", "T-probe", "T-noise", "copy_last (truth)", "three_gram (probe)"} <= {*errors}
    assert [*errors["W"]] == ["1", "4"]  # nine steps are too short for 8 and 16
    assert errors["simulator in words"]["4"]["mean"] < 0.1
    assert result["primary"]["variants"] == ["W", "T-probe"]
    assert result["primary"]["difference"] == pytest.approx(
        errors["W"]["4"]["mean"] - errors["T-probe"]["4"]["mean"]
    )
    assert result["goals"]["oracle"]["reached"] == result["goals"]["oracle"]["n"] == 4
    assert len(result["registration"]["sha256"]) == 64
    for seed in ("0", "1"):
        trained = result["training"][seed]
        assert trained["T-probe"]["core_seconds"] < 3 * trained["W"]["core_seconds"]
    said = result["unparsable"]["T-probe"]
    assert said["unparsable"] > 0 and said["examples"][0]["written"]  # two seconds of training


def test_a_study_goes_on_where_it_stopped(study) -> None:
    out, result = study
    (out / "result.json").unlink()
    (out / "seed-1" / "predictions.json").unlink()
    before = (out / "seed-1" / "T-probe" / "model.safetensors").stat().st_mtime_ns
    again = compare_words(out, SMALL)
    assert (out / "seed-1" / "T-probe" / "model.safetensors").stat().st_mtime_ns == before
    for part in ("primary", "state_error_cm", "pairs", "goals", "unparsable"):
        assert json.dumps(again[part]) == json.dumps(result[part])


@pytest.mark.slow  # 10 s, another study
def test_seeds_of_a_folder_are_chosen_anew(study) -> None:
    out, _ = study
    before = (out / "seed-1" / "T-probe" / "model.safetensors").stat().st_mtime_ns
    assert compare_words(out, replace(SMALL, seeds=(1,)))["n"]["seeds"] == 1
    assert (out / "seed-1" / "T-probe" / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow  # 20 s, a second study
def test_a_written_simulator_joins_a_study(study) -> None:
    """Takes 15 seconds: two studies are measured again, each of two seeds."""
    out, _ = study
    code = Path("examples/simulator_in_words.py").read_text(encoding="utf-8")
    told = {"model": "<b>who</b>", "code": {"text": code, "refused": None, "n": 0, "examples": [1],
            "state_error_cm": {}, "goals": {"reached": 1, "n": 2}}}  # fmt: skip
    write_json(out / "asked" / "someone" / "result.json", told)
    asked = compare_words(out, SMALL)
    errors = asked["state_error_cm"]
    assert errors["code someone (truth)"]["4"]["mean"] < errors["copy_last (truth)"]["4"]["mean"]
    minus = asked["W_minus_written"]["code someone (probe)"]["4"]["difference"]
    assert np.isfinite(minus)  # over four of five episodes: one was shown to the writer
    predicted = read_json(out / "seed-0" / "written.json")["errors_cm"]["code someone (truth)"]
    assert [row[0][0] is None for row in predicted] == [False, True, False, False, False]
    assert asked["asked"]["someone"]["model"] == "<b>who</b>"
    page = (out / "page.html").read_text(encoding="utf-8")
    assert "Code of someone" in page
    assert "&lt;b&gt;who" in page and "<b>who" not in page
    write_json(out / "asked" / "someone" / "result.json", {"text": "x"})
    with pytest.raises(FormatError, match="not a result of armillary compare ask"):
        compare_words(out, SMALL)
    (out / "asked" / "someone" / "result.json").unlink()
    assert compare_words(out, SMALL)["asked"] == {}


def test_a_model_that_sees_is_shown_the_steps(study, tmp_path) -> None:
    dataset = open_dataset(study[0] / "judged")
    truth, shown = states_of(dataset), []

    def sees(question: str, tokens: int = 1, pictures=()) -> dict:
        shown.append((question, pictures))
        return {"choices": [{"message": {"content": "A"}}]}

    ask_pairs(sees, draw_pairs(truth, 1, 0), truth, silent, dataset)
    question, pictures = shown[0]
    assert question.startswith("The pictures show steps 1 to 4.")
    assert len(pictures) == 4 and pictures[0].startswith("data:image/png;base64,")


def test_a_folder_belongs_to_its_settings(study) -> None:
    with pytest.raises(ConfigError, match="contains a comparison with other settings"):
        compare_words(study[0], WordsConfig(seeds=(7,)))


def test_wrong_words_leave_with_2(tmp_path, capsys) -> None:
    words = ["compare", "words", "--out", str(tmp_path / "out"), "--form", "prose"]
    assert main(words) == 2
    assert "There is no form of text called 'prose'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""What the tools answer is what the functions of armillary find, inside bounds."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from PIL import Image

import armillary as arm
from armillary.agent_tools.answers import Answers
from armillary.agent_tools.catalogue import Catalogue
from armillary.agent_tools.excerpts import excerpt
from armillary.agent_tools.library import Library
from armillary.core.errors import (
    ArmillaryError,
    ConfigError,
    DatasetError,
    MissingEpisodeError,
    MissingStepError,
    ShapeError,
)
from armillary.data import Cache
from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.config import EncoderConfig

ASKED = {"model": "small", "dataset": "rooms", "episode": 2}


@pytest.fixture(scope="module")
def answers(catalogue) -> Answers:
    return Answers(Library(catalogue))


def picture(answer) -> Image.Image:
    (file,) = answer.pictures
    return Image.open(io.BytesIO(file))


def test_the_list_says_what_can_be_asked(answers, data):
    facts = answers.listing().facts
    model = facts["models"]["small"]
    assert (model["sees"], model["action_width"], model["goal_policy"]) == (["rgb"], 2, True)
    assert model["recorded_steps_per_model_step"] == 2
    assert model["seconds_per_model_step"] == pytest.approx(0.2)
    assert not facts["models"]["searching"]["goal_policy"]
    bounds = model["datasets"]["rooms"]
    acted = np.concatenate([episode.actions for episode in data])
    assert (np.array(bounds["action_low"]) <= acted.min(0) + 1e-6).all()
    assert (np.array(bounds["action_high"]) >= acted.max(0) - 1e-6).all()
    rooms = facts["datasets"]["rooms"]
    assert (rooms["episodes"], rooms["steps"]) == (8, 200)
    json.dumps(facts, allow_nan=False)


def test_a_latent_is_summarised_and_its_places_are_read(answers, data):
    facts = answers.encode(**ASKED, step=4).facts
    assert (facts["tokens"], facts["width"]) == (4, 16)
    assert facts["norm"] > 0 and len(facts["principal"]) == 8
    assert 0 < sum(facts["principal_share_of_variance"]) <= 1.0001
    (name, place), *_ = facts["places"].items()
    truth = data[2].streams[name].values[4]
    np.testing.assert_allclose(place["recorded"][0], truth, rtol=1e-4)
    assert len(place["read"][0]) == len(truth) and place["mean_error"] > 0


def test_a_prediction_is_that_of_rollout(answers, folder, data):
    found = answers.predict(**ASKED, step=0, ahead=5)
    same = arm.rollout(folder, data[2], start=0, length=5)
    np.testing.assert_allclose(found.facts["distance"], same.error, rtol=1e-3)
    np.testing.assert_allclose(found.facts["distance_of_no_change"], same.copy_error, rtol=1e-3)
    assert found.facts["step"] == [2, 4, 6, 8, 10] and found.facts["notes"] == []
    assert found.facts["picture"]["nearest"][0]["episode"] == 2
    assert max(picture(found).size) <= 6 * 132


def test_given_actions_are_the_recorded_ones_or_others(answers, data):
    acted = data[2].actions[6:12]
    same = answers.predict(**ASKED, step=6, ahead=3).facts
    given = answers.predict(**ASKED, step=6, actions=acted.tolist()).facts
    np.testing.assert_allclose(given["distance"], same["distance"], rtol=1e-3)
    assert len(given["notes"]) == 1
    far = answers.predict(**ASKED, step=6, actions=[[1e9, 0.0]] * 6).facts
    assert far["notes"][0].startswith("6 of 6 actions were clipped")
    assert all(math.isfinite(one) for one in far["distance"])


def test_a_prediction_beyond_the_end_says_so(answers):
    short = answers.predict(**ASKED, step=20, ahead=8).facts
    assert len(short["step"]) == 2 and "2 of 8 steps are predicted" in short["notes"][0]
    given = answers.predict(**ASKED, step=24, actions=[[0.0, 0.0]] * 4).facts
    assert given["step"] == [26, 28] and given["distance"] == []
    assert "0 of 2 steps can be compared" in given["notes"][-1]


def test_surprise_has_peaks_with_times(answers, data):
    facts = answers.surprise(**ASKED).facts
    assert facts["judged_steps"] == [0, 24] and facts["calibrated_on_episodes"] == 7
    for peak in facts["peaks"]:
        assert peak["time_s"] == pytest.approx(peak["step"] / data.fps, rel=1e-3)
    assert 1 <= len(facts["peaks"]) <= 5
    assert facts["events"] is None  # 84 usual steps are too few
    part = answers.surprise(**ASKED, step=4, steps=3).facts
    assert part["judged_steps"] == [4, 8] and part["notes"] == ["The episode goes on to step 24."]


@pytest.mark.parametrize(("model", "planner"), [("small", "guided"), ("searching", "icem")])
def test_a_plan_stays_inside_the_bounds(answers, model, planner):
    asked = {**ASKED, "model": model}
    found = answers.plan(**asked, step=2, goal_step=20, ahead=3)
    facts = found.facts
    box = answers.listing().facts["models"][model]["datasets"]["rooms"]
    actions = np.array(facts["actions"])
    assert facts["planner"] == planner and actions.shape == (6, 2)
    assert (actions >= np.array(box["action_low"]) - 1e-4).all()
    assert (actions <= np.array(box["action_high"]) + 1e-4).all()
    assert facts["model_steps_taken"] > 0 and math.isfinite(facts["predicted_cost"])
    assert len(facts["distance_to_goal"]) == 4
    assert picture(found).size == (3 * 132 - 4, 128)
    assert facts["actions"] == answers.plan(**asked, step=2, goal_step=20, ahead=3).facts["actions"]


def test_a_view_is_a_picture_of_a_bounded_size(answers):
    whole = answers.view("rooms", 2, 3)
    assert picture(whole).size == (20, 20) and whole.facts["last_step"] == 24
    assert picture(answers.view("rooms", 2, 3, side_px=16)).size == (16, 16)
    assert answers.view("rooms", 2, 24).facts["action"] is None


@pytest.mark.parametrize(
    ("question", "arguments", "kind"),
    [
        ("encode", {**ASKED, "model": "smal", "step": 0}, ConfigError),
        ("encode", {**ASKED, "dataset": "../rooms", "step": 0}, ConfigError),
        ("encode", {**ASKED, "step": 25}, MissingStepError),
        ("encode", {**ASKED, "step": -1}, MissingStepError),
        ("view", {"dataset": "rooms", "episode": 8, "step": 0}, MissingEpisodeError),
        ("view", {"dataset": "rooms", "episode": 0, "step": 0, "camera": "x"}, ConfigError),
        ("view", {"dataset": "rooms", "episode": 0, "step": 0, "side_px": 9999}, ConfigError),
        ("predict", {**ASKED, "step": 0, "actions": [[0.0, 0.0]] * 3}, ShapeError),
        ("predict", {**ASKED, "step": 0, "actions": [[0.0]] * 2}, ShapeError),
        ("predict", {**ASKED, "step": 0, "actions": [[math.nan, 0.0]] * 2}, ShapeError),
        ("predict", {**ASKED, "step": 0, "actions": [[0.0, 0.0]] * 300}, ShapeError),
        ("predict", {**ASKED, "step": 0, "ahead": 33}, ConfigError),
        ("predict", {**ASKED, "step": 24}, ConfigError),
        ("plan", {**ASKED, "step": 0, "goal_step": 3, "ahead": 0}, ConfigError),
        ("plan", {**ASKED, "step": 0, "goal_step": 3, "goal_episode": 99}, DatasetError),
        ("surprise", {**ASKED, "step": 24}, DatasetError),
        ("surprise", {**ASKED, "steps": 100_000}, ConfigError),
    ],
)
def test_wrong_questions_end_in_a_sentence(answers, question, arguments, kind):
    with pytest.raises(kind) as caught:
        getattr(answers, question)(**arguments)
    assert isinstance(caught.value, ArmillaryError) and str(caught.value).endswith(".")


def test_a_model_of_plain_video_predicts_without_actions(tmp_path, data):
    encoder = EncoderConfig(image_size=16, width=16)
    config = JEPAConfig(encoder=encoder, action_width=0, frame_skip=1, sensors=("rgb",))
    save_model(untrained(config, 0), tmp_path / "video")
    video = Answers(Library(Catalogue.of([str(tmp_path / "video")], [str(data.path)])))
    asked = {**ASKED, "model": "video", "step": 3}
    assert video.listing().facts["models"]["video"]["datasets"] == {"rooms": {}}
    assert len(video.predict(**asked, ahead=4).facts["distance"]) == 4
    with pytest.raises(ConfigError, match="takes no actions"):
        video.predict(**asked, actions=[[0.0]])
    with pytest.raises(ConfigError, match="takes no actions"):
        video.plan(**asked, goal_step=9)


def test_an_excerpt_is_the_whole_episode_where_it_is_cut_from(answers, data):
    config = answers.library.pair("small", "rooms").config
    part = excerpt(data, 2, range(5, 9), config)
    whole = Cache.from_episodes([data[2]], 16)
    cut = Cache.from_episodes([part], 16)
    assert cut.arrays.keys() == whole.arrays.keys()
    for name in cut.arrays.keys() - {"time_ns", "actions"}:
        np.testing.assert_array_equal(cut.arrays[name], whole.arrays[name][5:9])
    np.testing.assert_array_equal(cut.arrays["actions"][:-1], whole.arrays["actions"][5:8])


def test_more_than_memory_should_hold_is_refused_before_it_is_read(answers, data, monkeypatch):
    monkeypatch.setattr("armillary.agent_tools.excerpts._MOST_BYTES", 16 * 16 * 3 * 4)
    with pytest.raises(ConfigError, match="ask for at most 4"):
        excerpt(data, 2, range(5), answers.library.pair("small", "rooms").config)

"""A drive repeats, begins as the world does, and is the model's own rollout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.values import Episode, Latent, Stream
from armillary.data import DatasetWriter
from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.config import EncoderConfig
from armillary.play import open_recording
from armillary.play.controls import Controls

AXES = [(0.5, 1.0), (-1.0, 0.2), (0.0, 0.0), (1.0, -0.7)]


def driven(session, mode: str = "imagined", seed: int = 3):
    session.begin(seed)
    controls = replace(session.controls(), mode=mode)
    return [session.step(replace(controls, axes=axes)) for axes in AXES]


def same(one, other) -> None:
    np.testing.assert_array_equal(one.imagined, other.imagined)
    np.testing.assert_array_equal(one.real, other.real)
    assert one.facts == other.facts


def test_the_same_seed_and_actions_give_the_same_frames(session) -> None:
    first, again, other = driven(session), driven(session), driven(session, seed=4)
    for one, two in zip(first, again, strict=True):
        same(one, two)
    assert not np.array_equal(first[-1].real, other[-1].real)


def test_imagined_and_real_begin_as_one(session) -> None:
    session.begin(3)
    frame = session.frame(session.controls())
    np.testing.assert_array_equal(frame.imagined, frame.real)
    assert frame.facts["step"] == frame.facts["blind"] == 0
    assert frame.facts["gap"] is None and frame.facts["far"] == pytest.approx(0, abs=0.02)


@torch.no_grad()
def test_what_is_imagined_is_the_models_own_rollout(session, model) -> None:
    session.begin(3)
    start, bounds = session._drive.seen.state, session.about.bounds
    actions = [Controls(axes).action(bounds, session.skip) for axes in AXES]
    plan = torch.from_numpy(np.array(actions, np.float32))[None, None]
    tokens = start.reshape(1, 1, model.config.encoder.tokens, -1)
    wanted = model.rollout(Latent(tokens), plan)[0, 0].flatten(1)
    for axes, state in zip(AXES, wanted, strict=True):
        session.step(replace(session.controls(), axes=axes))
        torch.testing.assert_close(session._drive.imagined.state[0], state)


def test_the_world_gets_the_same_actions_as_the_model(session) -> None:
    begun = session.begin(3)
    assert begun["places"][0]["name"] == "agent_xy" and begun["places"][0]["map"] == "motion"
    before = session._drive.seen.truth["agent_xy"]
    controls = replace(session.controls(), axes=(1.0, 0.0))
    after = session.step(controls) and session._drive.seen.truth["agent_xy"]
    moved = session.skip * session.about.bounds.high[0]
    assert 0 < after[0] - before[0] <= moved + 1e-6 and after[1] == pytest.approx(before[1])


def test_looking_starts_each_step_from_what_is_real(session) -> None:
    imagined, looking = driven(session), driven(session, "real")
    assert [frame.facts["blind"] for frame in imagined] == [1, 2, 3, 4]
    assert [frame.facts["blind"] for frame in looking] == [0, 0, 0, 0]
    # what surprises does not depend on what is shown
    assert [f.facts["surprise"] for f in imagined] == [f.facts["surprise"] for f in looking]
    assert imagined[-1].facts["gap"] != looking[-1].facts["gap"]


def test_actions_lie_in_the_bounds(session) -> None:
    bounds = session.about.bounds
    far = Controls((9.0, -9.0)).action(bounds, 2)
    np.testing.assert_array_equal(far, np.tile([bounds.high[0], bounds.low[1]], 2))
    np.testing.assert_array_equal(Controls((0.0, 0.0)).action(bounds, 2), np.zeros(4))


def test_a_goal_is_planned_for_and_followed(session) -> None:
    session.begin(3)
    controls = replace(session.controls(), goal=("agent_xy", (0.5, 0.5)))
    frame = session.frame(controls)
    plan = frame.facts["plan"]
    assert plan["best"][0] == pytest.approx(frame.facts["here"]["agent_xy"], abs=1e-3)
    assert len(plan["best"]) == 9 and len(plan["others"]) > 3
    rested = session.step(controls).facts["action"]
    followed = session.step(replace(controls, follow=True)).facts["action"]
    assert not any(rested) and any(followed)
    assert session.step(session.controls()).facts["plan"] is None


def test_a_goal_of_an_unknown_place_is_no_goal(session) -> None:
    session.begin(3)
    frame = session.step(replace(session.controls(), goal=("moon_xy", (0.5, 0.5)), follow=True))
    assert frame.facts["plan"] is None


def test_nothing_steps_before_it_was_begun(session) -> None:
    with pytest.raises(ConfigError, match="Nothing was begun yet"):
        session.step(session.controls())


def test_an_ended_environment_leaves_the_model_alone(session) -> None:
    session.begin(3)
    session.source._world.ended = True
    frame = session.step(session.controls())
    assert frame.facts["over"].startswith("The environment has ended this episode.")
    assert frame.facts["gap"] is None and frame.facts["step"] == 1
    del session.source._world.ended
    session.begin(3)
    assert session.step(session.controls()).facts["over"] == ""


@pytest.fixture
def replayed(folder: Path, recording: Path):
    made = open_recording(str(folder), recording, 1).session()
    yield made
    made.close()


def test_a_recording_replays_until_its_end(replayed) -> None:
    assert replayed.begin(0)["drawn_from"].startswith("13 pictures of this episode alone")
    controls = replayed.controls()
    frames = [replayed.step(controls) for _ in range(8)]
    assert [frame.facts["step"] for frame in frames] == [1, 2, 3, 4, 5, 6, 6, 6]
    assert frames[5].facts["gap"] is not None and frames[0].facts["departed"] is None
    assert frames[6].facts["over"] == "The recording ends here. Drive on in the model, or reset."


def test_one_may_depart_from_a_recording_and_rejoin(replayed) -> None:
    replayed.begin(0)
    rest = replayed.controls()
    seen = [replayed.step(rest) for _ in range(3)][-1]
    away = replayed.step(replace(rest, axes=(1.0, 0.0)))
    assert away.facts["departed"] == 3 and away.facts["gap"] is away.facts["surprise"] is None
    np.testing.assert_array_equal(away.real, seen.real)
    assert away.facts["truth"] == {}
    # the recording's own action is not taken any more
    assert not any(replayed.step(rest).facts["action"])
    replayed.rejoin()
    back = replayed.frame(rest)
    np.testing.assert_allclose(back.imagined.astype(int), back.real, atol=8)  # a blend
    on = replayed.step(rest)
    assert on.facts["departed"] is None and on.facts["gap"] is not None


def test_departing_is_the_same_as_acting_from_there(replayed) -> None:
    replayed.begin(0)
    rest = replayed.controls()
    for _ in range(2):
        replayed.step(rest)
    replayed.depart()
    one = replayed.step(rest)
    assert one.facts["departed"] == 2 and not any(one.facts["action"])


def test_a_video_model_goes_on_by_itself(tmp_path: Path) -> None:
    writer, rng = DatasetWriter(tmp_path / "video", 10), np.random.default_rng(0)
    for index in range(3):
        rgb = rng.integers(0, 255, (9, 16, 16, 3)).astype(np.uint8)
        writer.write(index, Episode({"rgb": Stream("rgb", rgb)}, np.arange(9) * 100_000_000))
    writer.finalize()
    encoder = EncoderConfig(image_size=16, width=16)
    config = JEPAConfig(encoder=encoder, action_width=0, sensors=("rgb",))
    save_model(untrained(config, 0), tmp_path / "model")
    made = open_recording(str(tmp_path / "model"), tmp_path / "video").session()
    made.begin(0)
    controls = made.controls()
    assert controls.axes == () and made.step(controls).facts["gap"] is not None
    made.depart()
    assert made.step(controls).facts["step"] == 2


def test_a_recording_has_the_models_actions_or_is_refused(folder, recording, tmp_path) -> None:
    encoder = EncoderConfig(image_size=16, width=16)
    for width in (0, 3):
        config = JEPAConfig(encoder=encoder, action_width=width, sensors=("rgb",))
        save_model(untrained(config, 0), tmp_path / str(width))
    with pytest.raises(ShapeError, match="The model takes 3 action numbers per model step, and"):
        open_recording(str(tmp_path / "3"), recording)
    made = open_recording(str(tmp_path / "0"), recording).session()
    made.begin(0)
    assert made.step(made.controls()).facts["gap"] is not None

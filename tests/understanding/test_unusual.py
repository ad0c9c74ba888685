"""Unusual: what was put into a clip is found where it is, and normal pictures stay quiet."""

import numpy as np
import pytest

from armillary.core.errors import DatasetError
from armillary.understanding.unusual import (
    LEAST_STEPS,
    Watch,
    false_alarms_per_minute,
    place_changes,
)

SIDE, STEP_S, NORMAL, CLIP = 64, 0.1, 400, 200
EVENT = 80  # step of the clip at which it begins
LASTS = 20


def film(steps, seed):
    """Two discs that move on steadily over a patterned wall, with the noise of a camera."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    wall = (
        90 + 40 * np.sin(x / 7.0)[..., None] * np.cos(y / 5.0)[..., None] + 20 * (x > 40)[..., None]
    )
    wall = np.repeat(wall, 3, axis=2)
    place, way = rng.uniform(16, SIDE - 16, (2, 2)), rng.normal(0, 1.0, (2, 2))
    pictures = []
    for _ in range(steps):
        way = np.where((place + way < 6) | (place + way > SIDE - 6), -way, way)
        place = place + way
        picture = wall.copy()
        for number, (across, down) in enumerate(place):
            picture[(x - across) ** 2 + (y - down) ** 2 < 20] = (220, 60 + 120 * number, 40)
        pictures.append(picture + rng.normal(0, 1.0, picture.shape))
    return np.clip(np.stack(pictures), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def watch():
    return Watch.fit([film(NORMAL, 0)], STEP_S)


@pytest.fixture
def clip():
    return film(CLIP, 1)


def only_event(watch, pictures):
    (event,) = watch.events(pictures)
    return event


def test_normal_pictures_have_no_event(watch, clip):
    assert watch.events(clip) == []


@pytest.mark.parametrize("dark", [False, True])
def test_a_pasted_thing_is_found_where_it_appears_and_where_it_vanishes(watch, clip, dark):
    clip[EVENT : EVENT + LASTS, 28:36, 28:36] = 10 if dark else 250
    events = watch.events(clip)
    assert [event.measure for event in events] == ["appearance"] * 2
    begins = [event.begin_s for event in events]
    assert begins == pytest.approx([EVENT * STEP_S, (EVENT + LASTS) * STEP_S])


def test_a_mirrored_stretch_is_found_at_both_ends(watch, clip):
    clip[EVENT : EVENT + LASTS] = clip[EVENT : EVENT + LASTS, :, ::-1]
    begins = [event.begin_s for event in watch.events(clip)]
    assert begins == pytest.approx([EVENT * STEP_S, (EVENT + LASTS) * STEP_S])


def test_a_frozen_picture_is_a_standstill(watch, clip):
    clip[EVENT : EVENT + LASTS] = clip[EVENT]
    event = watch.events(clip)[0]
    assert event.measure == "standstill"
    assert EVENT * STEP_S <= event.begin_s <= (EVENT + 6) * STEP_S
    assert event.end_s == pytest.approx((EVENT + LASTS - 1) * STEP_S, abs=3 * STEP_S)


def test_a_jump_cut_is_found_to_the_step(watch):
    longer = film(2 * CLIP, 2)
    cut = np.concatenate([longer[:EVENT], longer[EVENT + 150 : CLIP + 150]])
    event = only_event(watch, cut)
    assert event.begin_s == pytest.approx(EVENT * STEP_S)
    assert event.score > 1


def test_the_strongest_measure_names_the_event_in_words(watch, clip):
    clip[EVENT:] = 255 - clip[EVENT:]
    event = only_event(watch, clip)
    assert event.measure == "whole_picture"
    assert str(event).startswith("8.0 s: the whole picture changed at once (")


def test_a_clip_that_is_its_own_measure_still_shows_what_happened():
    clip = film(NORMAL, 3)
    clip[300:] = clip[300:, :, ::-1]
    event = only_event(Watch.within(clip, STEP_S), clip)
    assert event.begin_s == pytest.approx(30.0)


def test_false_alarms_are_counted_on_halves_and_need_enough_pictures():
    normal = film(NORMAL, 0)
    assert false_alarms_per_minute([normal], STEP_S) == 0
    normal[300, 10:20, 10:20] = 255  # appears and vanishes: one event, in the second half
    assert false_alarms_per_minute([normal], STEP_S) == pytest.approx(60 / 39.8, rel=0.01)
    assert false_alarms_per_minute([normal[:150]], STEP_S) is None


def test_the_order_of_clips_and_of_colour_channels_does_not_matter(clip):
    one, other = film(NORMAL, 0), film(NORMAL, 4)
    straight, turned = Watch.fit([one, other], STEP_S), Watch.fit([other, one], STEP_S)
    clip[EVENT:, 5:12, 5:12] = 250
    assert straight.events(clip) == turned.events(clip)
    swapped = Watch.fit([one[..., ::-1], other[..., ::-1]], STEP_S)
    scores, again = straight.scores(clip), swapped.scores(np.ascontiguousarray(clip[..., ::-1]))
    for name, values in scores.items():
        np.testing.assert_allclose(values, again[name], rtol=1e-4, atol=1e-6)


def test_changes_are_mean_differences_of_places():
    before, after = np.zeros((2, 1, 32, 32, 3), np.uint8)
    after[0, :2, :2] = 51  # one place of 16 x 16
    change = place_changes(np.concatenate([before, after]))
    assert change.shape == (1, 16, 16)
    assert float(change[0, 0, 0]) == pytest.approx(0.2)
    assert float(change.sum()) == pytest.approx(0.2)


def test_too_few_normal_pictures_are_refused_with_what_is_needed():
    with pytest.raises(DatasetError, match=r"of 49 steps say too little .* 100 steps \(10 s\)"):
        Watch.fit([film(50, 0)], STEP_S)
    with pytest.raises(DatasetError, match="of 99 steps"):
        Watch.within(film(LEAST_STEPS, 0), STEP_S)

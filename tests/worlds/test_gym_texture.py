"""A texture replaces the ground, in every picture the same, and touches nothing else."""

import numpy as np
import pytest

from armillary.core.errors import WorldError
from armillary.worlds.gym.texture import with_texture


def flat(size=64):
    picture = np.full((size, size, 3), 255, np.uint8)
    picture[20:30, 20:40] = (10, 200, 30)
    return picture


def test_only_the_ground_changes_and_the_pattern_stays():
    plain = flat()
    made = with_texture(plain)
    thing = (plain != 255).any(-1)
    np.testing.assert_array_equal(made[thing], plain[thing])
    assert made[~thing].std(0).min() > 20, "a strong pattern, in every colour channel"
    moved = np.roll(plain, 15, 0)
    both = ~thing & ~np.roll(thing, 15, 0)
    np.testing.assert_array_equal(with_texture(moved)[both], made[both])


def test_a_picture_without_a_ground_of_one_colour_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with pytest.raises(WorldError, match="no ground of one colour"):
        with_texture(noise)

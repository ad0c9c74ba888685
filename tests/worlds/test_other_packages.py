"""Environments of other packages as they come: recorded, and with goals that repeat themselves.

They run where the packages are installed (docs/how-to/environments.md).
"""

import importlib.util

import numpy as np
import pytest

from armillary.worlds import make_world

METAWORLD = {"env_name": "push-v3", "seed": 0, "camera_name": "corner2"}
ENVIRONMENTS = {
    "metaworld": ("gym:metaworld:Meta-World/MT1", {"env_settings": METAWORLD}),
    "dm_control": ("gym:shimmy:dm_control/reacher-easy-v0", {}),
    "gymnasium_robotics": ("gym:gymnasium_robotics:FetchReach-v4", {}),
}


def made(package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    name, settings = ENVIRONMENTS[package]
    return make_world(name, image_size=32, quick_pictures=True, **settings)


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("package", ENVIRONMENTS)
def test_the_way_to_a_goal_leads_there_again_in_a_world_made_anew(package):
    # over 5 s: it starts simulators and draws pictures on the processor
    world, again = made(package), made(package)
    try:
        pictures = [one.reset(3).streams["rgb"] for one in (world, again)]
        assert np.array_equal(*pictures) and pictures[0].std() > 5
        goals = [one.draw_goal("ahead_25", np.random.default_rng(0)) for one in (world, again)]
        assert np.array_equal(*(goal.observation.streams["rgb"] for goal in goals))
        assert world.distance(goals[0]) == 1, "all of the way is left"
        for action in goals[0].truth["ahead_actions"]:
            world.step(action)
        assert world.distance(goals[0]) < 1e-6
    finally:
        world.close()
        again.close()

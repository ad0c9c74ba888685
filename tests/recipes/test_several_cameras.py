"""A recording with several colour cameras: what the model sees of it is chosen, and said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_recipe import SMALL

from armillary.core.changing import changed
from armillary.core.errors import DatasetError
from armillary.data import open_dataset
from armillary.models import load_model
from armillary.recipes.recipe import check_cameras, train_recipe, unseen_cameras
from armillary.recipes.world import adapted, world
from armillary.services.acting import ActConfig, act
from armillary.worlds import record

SETTINGS = {"num_cameras": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("cameras") / "data"
    record("tabletop", out, 8, 12, seed=5, settings=SETTINGS)
    return out


def test_a_model_of_two_cameras_is_trained_and_acts(data, tmp_path):
    recipe = changed(world(), SMALL | {"model.cameras": ("rgb_1",), "threads": 1})
    found = train_recipe(recipe, data, tmp_path / "run", diagnosed=False, acting=False)
    assert not any("colour camera" in one for one in found.warnings)
    model = load_model(tmp_path / "run" / "model")
    assert model.config.streams[-1] == "rgb_1"
    config = ActConfig(episodes=1, workers=1, world_settings=SETTINGS)
    rows = act(tmp_path / "run", "tabletop", tmp_path / "act", config).rows
    assert rows["model"].n == 1


def test_what_is_not_seen_is_said(data):
    dataset = open_dataset(data)
    recipe = adapted(world(), dataset)
    assert "--model.cameras rgb_1 adds it" in unseen_cameras(recipe, dataset.cameras)
    both = replace(recipe, model=replace(recipe.model, cameras=("rgb_1",)))
    check_cameras(both, dataset.cameras)
    assert unseen_cameras(both, dataset.cameras) == ""
    wrong = replace(recipe, model=replace(recipe.model, cameras=("depth_1",)))
    with pytest.raises(DatasetError, match="names 'depth_1', which is no further colour camera"):
        check_cameras(wrong, dataset.cameras)

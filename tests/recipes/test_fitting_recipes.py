"""What a recipe asks of its data is checked before anything of the run is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from armillary.core.errors import ConfigError
from armillary.recipes.changing import changed
from armillary.recipes.recipe import train_recipe
from armillary.recipes.two_rooms import two_rooms
from armillary.training import AugmentConfig
from armillary.worlds import record


@pytest.mark.parametrize(
    ("augment", "said"),
    [
        (AugmentConfig(mirror=0.5, mirrored_actions=(3,)), "dimension 3, an action of .* has 2"),
        (AugmentConfig(mirror=0.5, mirror_line="rising"), "say which dimensions of an action"),
        (AugmentConfig(shift_px=64), "shift_px must be below the pictures' 64 px, got 64"),
    ],
)
def test_clips_that_cannot_be_varied_so_leave_no_run_behind(
    tmp_path: Path, augment: AugmentConfig, said: str
) -> None:
    record("two_rooms", tmp_path / "data", 2, 12, workers=1)
    with pytest.raises(ConfigError, match=said):
        recipe = changed(two_rooms(), {"model.frame_skip": 2})
        train_recipe(replace(recipe, augment=augment), tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()

"""A folder is claimed by its first settings, and by no others after them."""

import pytest

from armillary.core.claiming import claim
from armillary.core.errors import ConfigError


def test_the_same_settings_may_come_again_and_others_may_not(tmp_path):
    file = tmp_path / "run" / "settings.json"
    claim(file, {"steps": 3}, "a model")
    claim(file, {"steps": 3}, "a model", made=True)
    with pytest.raises(
        ConfigError, match="run: contains a model with other settings; choose another"
    ):
        claim(file, {"steps": 4}, "a model")


def test_what_was_made_before_anyone_claimed_it_is_nobodys(tmp_path):
    with pytest.raises(ConfigError, match="contains a model with other settings"):
        claim(tmp_path / "settings.json", {}, "a model", made=True)
    assert not list(tmp_path.iterdir())

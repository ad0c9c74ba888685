"""Settings: name=value pairs of the command line."""

import pytest

from armillary.cli.parse import settings_of
from armillary.core.errors import ConfigError


def test_settings_are_json_or_else_text():
    found = settings_of(["split=held_out", "max_step_m=0.017", 'sensors=["rgb"]'], "--setting")
    assert found == {"split": "held_out", "max_step_m": 0.017, "sensors": ["rgb"]}


@pytest.mark.parametrize("pairs", [["split"], ["=1"], ["a=1", "a=2"]])
def test_a_setting_that_is_no_pair_is_refused(pairs):
    with pytest.raises(ConfigError, match="--setting takes name=value, each name once"):
        settings_of(pairs, "--setting")


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[1, NaN]"])
def test_a_setting_is_no_nan_and_not_infinite(text):
    """JSON has neither, so what is written down about a recording could not hold it."""
    assert settings_of([f"reach_m={text}"], "--setting") == {"reach_m": text}

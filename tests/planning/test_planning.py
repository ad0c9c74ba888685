"""One value says how a model decides, and refuses what would have no effect."""

import pytest

from armillary.core.errors import ConfigError
from armillary.planning import GuidedConfig, Planning
from armillary.planning.planning import WAYS, guided_config


def test_the_empty_name_follows_the_model_and_what_is_asked_for():
    assert Planning().fitting(goal_policy=True).planner == "guided"
    assert Planning().fitting(goal_policy=False).planner == "icem"
    assert Planning(replan=2).fitting(goal_policy=True).planner == "icem"
    for name in WAYS:
        assert Planning(name).fitting(goal_policy=True) == Planning(name)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"planner": "ceem"}, r"no planner called 'ceem'. Did you mean 'cem'"),
        ({"planner": "direct", "settings": {"length": 4}}, "direct, settings has no effect"),
        ({"planner": "direct", "history": 2, "replan": 2}, "direct, history, replan has no eff"),
        ({"planner": "guided", "history": 2}, "With the planner guided, history has no effect"),
        ({"planner": "guided", "replan": 2}, "With the planner guided, replan has no effect"),
        ({"planner": "icem", "settings": {"sample": 4}}, "no setting of the icem planner called"),
        ({"replan": 0}, "replan must be at least 1; got 0"),
        ({"history": -1}, "history must be at least 0; got -1"),
        ({"planner": "guided", "settings": {"samples": 0}}, "samples must be at least 1; got 0"),
    ],
)
def test_what_cannot_be_gets_a_sentence(given, said):
    with pytest.raises(ConfigError, match=said):
        Planning(**given)


def test_a_search_alone_remembers_four_steps_by_default():
    assert Planning("icem").remembered == Planning("cem").remembered == 4
    assert Planning("icem", history=1).remembered == 1
    assert Planning("direct").remembered == Planning("guided").remembered == 1


def test_the_settings_of_a_guided_search_are_checked():
    assert guided_config({"samples": 4, "margin": 0.5}) == GuidedConfig(samples=4, margin=0.5)
    with pytest.raises(ConfigError, match="no setting of the guided planner called 'sample'"):
        guided_config({"sample": 4})

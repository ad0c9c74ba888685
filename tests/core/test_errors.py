"""Errors are sentences with a suggestion and an exit code."""

from __future__ import annotations

import pytest

from armillary.core import errors
from armillary.core.optional import require


def test_a_near_miss_gets_a_suggestion() -> None:
    said = str(errors.unknown_name("planner", "cme", ["mppi", "cem"]))
    assert said == "There is no planner called 'cme'. Did you mean 'cem'? Known: cem, mppi."


def test_a_far_miss_gets_only_the_list() -> None:
    said = str(errors.unknown_name("planner", "zzz", ["mppi", "cem"]))
    assert said == "There is no planner called 'zzz'. Known: cem, mppi."


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.ConfigError, 2),
        (errors.FormatError, 2),
        (errors.DatasetError, 2),
        (errors.CheckpointError, 2),
        (errors.ShapeError, 2),
        (errors.WorldError, 2),
        (errors.StorageError, 2),
        (errors.TrainingError, 2),
        (errors.CheckFailedError, 1),
        (errors.MissingExtraError, 3),
    ],
)
def test_exit_codes(kind: type[errors.ArmillaryError], code: int) -> None:
    assert issubclass(kind, errors.ArmillaryError)
    assert kind("a sentence").exit_code == code
    assert str(kind("a sentence")) == "a sentence"


def test_a_missing_extra_names_its_install_command() -> None:
    with pytest.raises(errors.MissingExtraError) as caught:
        require("no_such_module_anywhere", "wandb", "log to W&B")
    assert str(caught.value) == (
        "no_such_module_anywhere is needed to log to W&B. "
        "Install it with: pip install 'armillary[wandb]'"
    )


def test_what_is_installed_is_imported() -> None:
    assert require("json", "none", "nothing").dumps([1]) == "[1]"

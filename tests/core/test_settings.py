"""Settings get the types that they are declared with, or one sentence says what they take."""

from __future__ import annotations

import numpy as np
import pytest

from armillary.core.errors import ConfigError
from armillary.core.settings import as_declared
from armillary.planning import make_planner
from armillary.worlds import make_world

DECLARED = {
    "whole": int,
    "number": float,
    "said": bool,
    "word": str,
    "few": tuple[int, int],
    "wide": tuple[float, float],
    "names": tuple[str, ...],
}


def fitted(name: str, value: object) -> object:
    return as_declared("toy", DECLARED, {name: value})[name]


@pytest.mark.parametrize(
    ("name", "told", "wanted"),
    [
        ("whole", 3, 3),
        ("whole", np.int64(3), 3),
        ("number", 3, 3.0),
        ("number", np.float32(0.5), 0.5),
        ("said", True, True),
        ("word", "train", "train"),
        ("few", [1, 3], (1, 3)),
        ("few", 2, (2, 2)),
        ("wide", [1, 2.5], (1.0, 2.5)),
        ("wide", (0.5, 1), (0.5, 1.0)),
        ("wide", 3, (3.0, 3.0)),
        ("names", ["rgb", "depth"], ("rgb", "depth")),
        ("names", "rgb", ("rgb",)),
        ("names", [], ()),
        ("unknown", [1], [1]),
    ],
)
def test_what_fits_becomes_what_was_declared(name, told, wanted):
    found = fitted(name, told)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("name", "told", "sentence"),
    [
        ("whole", 3.5, r"toy: whole takes a whole number, got 3\.5"),
        ("whole", True, "whole takes a whole number, got True"),
        ("number", "much", "number takes a number, got 'much'"),
        ("number", True, "number takes a number"),
        ("said", 1, "said takes true or false, got 1"),
        ("word", 7, "word takes text, got 7"),
        ("few", [1, 2, 3], "few takes a whole number, or two of them, got"),
        ("few", [], "few takes a whole number, or two of them"),
        ("few", [1.5, 2], "few takes a whole number"),
        ("wide", "nan", r"wide takes a number, or two of them \(lowest, highest\), got 'nan'"),
        ("names", [1], r"names takes names, got \[1\]"),
    ],
)
def test_what_does_not_fit_is_said(name, told, sentence):
    with pytest.raises(ConfigError, match=sentence):
        fitted(name, told)


@pytest.mark.parametrize(
    ("world", "name", "value"),
    [
        ("two_rooms", "image_size", "large"),
        ("stage", "image_size", 64.5),
        ("yard", "num_things", [1, 2, 3]),
        ("yard", "moving", "maybe"),
        ("perturbed", "earliest", "soon"),
    ],
)
def test_every_world_says_it(world, name, value):
    with pytest.raises(ConfigError, match=f"{world}: {name} takes "):
        make_world(world, **{name: value})


@pytest.mark.parametrize(
    ("planner", "name", "value"),
    [
        ("cem", "samples", "many"),
        ("icem", "samples", 64.5),
        ("gradient", "length", True),
        ("mppi", "temperature", "hot"),
        ("gradient", "starts", [8, 9]),
    ],
)
def test_every_planner_says_it(planner, name, value):
    with pytest.raises(ConfigError, match=f"{planner}: {name} takes a "):
        make_planner(planner, **{name: value})

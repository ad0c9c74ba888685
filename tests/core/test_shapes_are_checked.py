"""Calls with wrong shapes are errors in the tests, and what has no shape is left as it is."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from armillary.core.files import read_json
from armillary.core.statistics import auroc
from armillary.report.contents import ContactSheet
from armillary.spatial.poses import inverse


def test_a_wrong_shape_is_an_error() -> None:
    with pytest.raises(TypeCheckError):
        inverse(torch.eye(3))
    with pytest.raises(TypeCheckError):
        auroc(np.zeros(3), np.zeros(4, bool))
    with pytest.raises(TypeCheckError):  # the annotation is a name for the shape of a picture
        ContactSheet(rgb=(np.zeros((4, 4), np.uint8),))


def test_a_function_without_shapes_is_not_wrapped() -> None:
    assert not hasattr(read_json, "__wrapped__")

"""A predictor starts from "nothing changes", and may do without a memory."""

from __future__ import annotations

import pytest
import torch

from armillary.core.errors import ConfigError
from armillary.models import PredictorConfig
from armillary.models.predictor import Predictor


def test_without_a_memory_what_it_saw_before_makes_no_difference():
    predictor = Predictor(PredictorConfig(memory=0, hidden=8, layers=3), 4, 2)
    latent, action = torch.randn(5, 4), torch.randn(5, 2)
    memory = predictor.start(latent)
    assert memory.shape == (5, 0)
    again = predictor.remember(torch.randn(5, 4), torch.randn(5, 2), memory)
    first, kept = predictor(latent, action, memory)
    assert kept.shape == (5, 0) and torch.equal(first, predictor(latent, action, again)[0])


def test_with_a_memory_it_does():
    predictor = Predictor(PredictorConfig(memory=3, hidden=8, layers=2), 4, 2)
    latent, action = torch.randn(5, 4), torch.randn(5, 2)
    memory = predictor.start(latent)
    again = predictor.remember(torch.randn(5, 4), torch.randn(5, 2), memory)
    assert not torch.equal(
        predictor(latent, action, memory)[0], predictor(latent, action, again)[0]
    )


@pytest.mark.parametrize("wrong", [{"memory": -1}, {"hidden": 0}, {"layers": 0}, {"layers": 65}])
def test_a_shape_that_cannot_be_gets_a_sentence(wrong):
    with pytest.raises(ConfigError, match=r"predictor\.layers 1 to 64"):
        PredictorConfig(**wrong)

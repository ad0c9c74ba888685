"""A change of the latent's unit changes distances, and nothing that the model says."""

from __future__ import annotations

import torch

from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, untrained
from armillary.training.unit_latent import Unit, change_predictor

SMALL = JEPAConfig(
    sensors=("rgb",),
    action_width=2,
    encoder=EncoderConfig(image_size=16, patch=8, hidden=32, keypoints=2, tokens=2, width=6),
    predictor=PredictorConfig(memory=8, hidden=16, layers=2),
)


def clips(count: int = 40, steps: int = 6, width: int = 12) -> torch.Tensor:
    rng = torch.Generator().manual_seed(3)
    return 0.05 * torch.randn(count, steps, width, generator=rng) + torch.arange(12.0)


def test_the_predictor_says_the_same_in_another_unit_and_back() -> None:
    model, unit = untrained(SMALL, 0), Unit.of_latents(clips())
    rng = torch.Generator().manual_seed(1)
    before, actions = clips()[:5, 0], torch.randn(5, 3, 2, generator=rng)

    def rolled(latent: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model.foresee(latent, model.predictor.start(latent), actions)

    first = rolled(before)
    change_predictor(model.predictor, unit)
    torch.testing.assert_close(rolled(unit.of(before)), unit.of(first), atol=2e-3, rtol=2e-3)
    change_predictor(model.predictor, unit.back())
    torch.testing.assert_close(rolled(before), first, atol=1e-3, rtol=1e-3)


def test_latents_have_mean_0_and_variance_1_in_it_and_it_is_undone() -> None:
    latents = clips()
    unit = Unit.of_latents(latents)
    flat = unit.of(latents).flatten(0, 1)
    assert flat.mean(0).abs().max() < 1e-4
    assert abs(float(flat.square().mean()) - 1) < 1e-4
    torch.testing.assert_close(unit.back().of(unit.of(latents)), latents, atol=1e-4, rtol=1e-4)


def test_latents_that_are_all_the_same_have_a_unit() -> None:
    unit = Unit.of_latents(torch.ones(3, 2, 12))
    assert unit.of(torch.ones(3, 2, 12)).abs().max() == 0

"""A change of the latent's coordinates changes distances, and nothing that the model says."""

from __future__ import annotations

import torch

from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, untrained
from armillary.objectives.slow_features import root_of, slow_metric
from armillary.training.slow_latent import Coordinates, change_predictor

SMALL = JEPAConfig(
    sensors=("rgb",),
    action_width=2,
    encoder=EncoderConfig(image_size=16, patch=8, hidden=32, keypoints=2, tokens=2, width=6),
    predictor=PredictorConfig(memory=8, hidden=16),
)


def clips(count: int = 40, steps: int = 6, width: int = 12) -> torch.Tensor:
    rng = torch.Generator().manual_seed(3)
    rest = torch.randn(count, 1, width, generator=rng)
    return 0.3 * (rest + 0.2 * torch.randn(count, steps, width, generator=rng)) + 1.0


def test_the_predictor_says_the_same_in_other_coordinates_and_back() -> None:
    model, slow = untrained(SMALL, 0), Coordinates.slow(clips(), plain=0.3)
    rng = torch.Generator().manual_seed(1)
    before, actions = torch.randn(5, 12, generator=rng), torch.randn(5, 3, 2, generator=rng)

    def rolled(latent: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model.foresee(latent, model.predictor.start(latent), actions)

    first = rolled(before)
    change_predictor(model.predictor, slow)
    torch.testing.assert_close(rolled(slow.of(before)), slow.of(first), atol=2e-3, rtol=2e-3)
    change_predictor(model.predictor, slow.back())
    torch.testing.assert_close(rolled(before), first, atol=1e-3, rtol=1e-3)


def test_new_coordinates_have_mean_0_and_variance_1_and_are_undone() -> None:
    latents = clips()
    slow = Coordinates.slow(latents, plain=0.3)
    flat = slow.of(latents).flatten(0, 1)
    assert flat.mean(0).abs().max() < 1e-4
    assert abs(float(flat.square().mean()) - 1) < 1e-4
    torch.testing.assert_close(slow.back().of(slow.of(latents)), latents, atol=1e-4, rtol=1e-4)


def test_what_goes_far_in_small_steps_weighs_more_than_what_flickers_or_rests() -> None:
    rng = torch.Generator().manual_seed(0)
    latents = torch.zeros(400, 8, 3)
    latents[..., 0] = torch.randn(400, 8, generator=rng).mul(0.1).cumsum(1)
    latents[..., 1] = torch.randn(400, 8, generator=rng)  # flickers
    latents[..., 2] = torch.randn(400, 1, generator=rng)  # differs between clips and rests
    latents[..., 2] += 0.1 * torch.randn(400, 8, generator=rng)
    metric = slow_metric(latents, plain=0.0, shrinkage=1e-4)
    per_change = metric.diagonal() * (latents[:, 1:] - latents[:, :-1]).square().mean((0, 1))
    assert per_change[0] > 3 * per_change[1] and per_change[0] > 3 * per_change[2]


def test_the_metric_is_the_formula() -> None:
    latents = clips()
    far = (latents[:, -1] - latents[:, 0]).double()
    whole = far.T @ far / len(far)
    change = (latents[:, 1:] - latents[:, :-1]).flatten(0, 1).double()
    step = change.T @ change / len(change)
    mean = step.trace() / 12
    inverse = torch.linalg.inv(step + 0.05 * mean * torch.eye(12))
    slow = inverse @ whole @ inverse
    expected = 0.3 * torch.eye(12) / mean + slow / ((slow @ step).trace() / 12)
    torch.testing.assert_close(slow_metric(latents, 0.3), expected)
    root, inverse_root = root_of(expected)
    torch.testing.assert_close(root @ root, expected)
    torch.testing.assert_close(root @ inverse_root, torch.eye(12, dtype=torch.float64))

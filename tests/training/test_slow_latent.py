"""A change of the latent's coordinates changes distances, and nothing that the model says."""

from __future__ import annotations

import torch

from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, untrained
from armillary.objectives.slow_features import root_of, slow_metric
from armillary.training.slow_latent import to_slow_latent

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


def test_the_model_says_the_same_in_other_coordinates() -> None:
    model = untrained(SMALL, 0)
    pictures = torch.randint(0, 255, (5, 16, 16, 3), dtype=torch.uint8)
    latents = clips()
    with torch.no_grad():
        tokens = model.tokenizers({"rgb": pictures}, model.normalizer, model.grid, {}, 1)
        before = model.encoder(*tokens).flatten(1)
        actions = torch.randn(5, 3, 2)
        rolled = model.foresee(before, model.predictor.start(before), actions)
        changed = to_slow_latent(model, latents, plain=0.3)
        after = model.encoder(*tokens).flatten(1)
        rolled_after = model.foresee(after, model.predictor.start(after), actions)
    flat, new = latents.flatten(0, 1), changed.flatten(0, 1)
    ones = torch.cat([flat, torch.ones(len(flat), 1)], 1)
    affine = torch.linalg.lstsq(ones.double(), new.double()).solution
    into = lambda z: torch.cat([z, torch.ones(*z.shape[:-1], 1)], -1).double() @ affine  # noqa: E731
    torch.testing.assert_close(after.double(), into(before), atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(rolled_after.double(), into(rolled), atol=2e-3, rtol=2e-3)
    assert new.mean(0).abs().max() < 1e-4
    assert abs(float(new.square().mean()) - 1) < 1e-4


def test_what_rests_weighs_more_than_what_flickers() -> None:
    rng = torch.Generator().manual_seed(0)
    latents = torch.zeros(200, 8, 2)
    latents[..., 0] = torch.randn(200, 1, generator=rng)  # differs between clips, rests in each
    latents[..., 0] += 0.05 * torch.randn(200, 8, generator=rng)
    latents[..., 1] = torch.randn(200, 8, generator=rng)  # flickers
    metric = slow_metric(latents, plain=0.0, shrinkage=1e-3)
    assert metric[0, 0] > 1000 * metric[1, 1]


def test_the_metric_is_the_formula() -> None:
    latents = clips()
    flat = latents.flatten(0, 1).double()
    whole = torch.cov(flat.T, correction=0)
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

"""``check_model`` passes a sound model, and names the promise that each unsound one breaks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from armillary.core.errors import CheckFailedError, ConfigError
from armillary.core.rng import torch_generator
from armillary.core.values import Batch, Latent
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, check_model, untrained

SIDE, TOKENS, WIDTH = 16, 2, 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch_generator("check-model", seed))


def example() -> tuple[Batch, Tensor]:
    pictures = (normal(3, 4, SIDE, SIDE, 3) * 60 + 128).clamp(0, 255).to(torch.uint8)
    clips = Batch({"rgb": pictures}, normal(3, 3, 2, seed=1), torch.ones(3, 4, dtype=torch.bool))
    return clips, normal(3, 5, 3, 2, seed=2)


class Sound(nn.Module):
    """Tokens are random projections of the frame; prediction adds up projected actions."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Parameter(normal(SIDE * SIDE * 3, TOKENS * WIDTH, seed=3) / 30)
        self.moved = nn.Parameter(normal(2, TOKENS * WIDTH, seed=4))
        self.register_buffer("calls", torch.zeros(()))

    def features(self, batch: Batch) -> Tensor:
        return batch.streams["rgb"].flatten(2).float() / 255 @ self.seen

    def encode(self, batch: Batch) -> Latent:
        tokens = self.features(batch).unflatten(-1, (TOKENS, WIDTH))
        return Latent(tokens, batch.actions)

    def rollout(self, latent: Latent, plans: Tensor) -> Tensor:
        way = (plans @ self.moved).cumsum(2).unflatten(-1, (TOKENS, WIDTH))
        return latent.tokens[:, -1, None, None] + way


class Neighbourly(Sound):
    """Looks at the previous frame: a fair encoder of video, but not one for control."""

    def features(self, batch):
        here = super().features(batch)
        return here + torch.cat([here[:, :1], here[:, :-1]], 1)


class Anticipating(Sound):
    def features(self, batch):
        here = super().features(batch)
        return here + here.mean(1, keepdim=True)


class BatchNormed(Sound):
    def features(self, batch):
        here = super().features(batch)
        return here - here.mean(0)


class Competing(Sound):
    def rollout(self, latent, plans):
        return super().rollout(latent, plans - plans.mean(1, keepdim=True))


class Clairvoyant(Sound):
    def rollout(self, latent, plans):
        return super().rollout(latent, plans.flip(2))


class Leaky(Sound):
    def rollout(self, latent, plans):
        plans.clamp_(-0.5, 0.5)
        return super().rollout(latent, plans)


class Noisy(Sound):
    def features(self, batch):
        return super().features(batch) + 1e-6 * torch.rand(())


class Drawing(Sound):
    def features(self, batch):
        return super().features(batch) + 0 * torch.rand(())


class Counting(Sound):
    def encode(self, batch):
        self.calls += 1
        return super().encode(batch)


class Double(Sound):
    def rollout(self, latent, plans):
        return super().rollout(latent, plans).double()


class Broken(Sound):
    def rollout(self, latent, plans):
        return super().rollout(latent, plans).log()


class Flat(Sound):
    def rollout(self, latent, plans):
        return super().rollout(latent, plans).flatten(3)


class Changing(Sound):
    """Adds less than the tolerance at each call: only repetition to the bit notices."""

    drift = 0.0

    def rollout(self, latent, plans):
        self.drift += 1e-6
        return super().rollout(latent, plans) + self.drift


@pytest.mark.parametrize("memory", [1, 8])
def test_our_own_model_passes(memory) -> None:
    encoder = EncoderConfig(
        image_size=SIDE, patch=8, patch_hidden=16, patch_width=8, hidden=16, tokens=2, width=4
    )
    predictor = PredictorConfig(memory=memory, hidden=8)
    config = JEPAConfig(sensors=("rgb",), encoder=encoder, predictor=predictor, action_width=2)
    check_model(lambda: (untrained(config, 0).eval(), *example()))


@pytest.mark.parametrize("per_frame", [True, False])
def test_a_sound_model_passes(per_frame) -> None:
    check_model(lambda: (Sound(), *example()), per_frame)


def test_a_model_of_plain_video_passes() -> None:
    clips, plans = example()
    model = Sound()
    model.moved = nn.Parameter(torch.zeros(0, TOKENS * WIDTH))
    check_model(lambda: (model, replace(clips, actions=None), plans[..., :0]))


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Neighbourly, "frames: a frame alone is encoded"),
        (Anticipating, "ahead: the latent of a step"),
        (BatchNormed, "batch: a clip alone is encoded"),
        (Competing, "candidates: a plan alone leads"),
        (Clairvoyant, "prefix: the beginning of a plan"),
        (Leaky, "arguments: encode and rollout write into no"),
        (Noisy, "repeat: encode again"),
        (Drawing, "chance: a call draws from no global"),
        (Counting, "state: calls leave the model"),
        (Double, "float32: rollout gives float32"),
        (Broken, "finite: rollout gives finite"),
        (Flat, "shape: rollout gives"),
        (Changing, "repeat: rollout again"),
    ],
)
def test_a_broken_promise_is_named(kind, promise) -> None:
    with pytest.raises(CheckFailedError, match=promise):
        check_model(lambda: (kind(), *example()))


def test_an_encoder_that_looks_back_may_say_so() -> None:
    check_model(lambda: (Neighbourly(), *example()), per_frame=False)


def test_an_example_that_shows_nothing_is_refused() -> None:
    clips, plans = example()
    with pytest.raises(ConfigError, match="plans that differ"):
        check_model(lambda: (Sound(), clips, plans[:, :1].repeat(1, 3, 1, 1)))
    with pytest.raises(ConfigError, match="at least 2 clips of 3 steps"):
        check_model(lambda: (Sound(), clips, plans[:, :, :1]))

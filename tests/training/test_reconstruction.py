"""A latent that is asked for a picture holds how a thing is turned; light is not asked for."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from armillary.core.errors import ConfigError
from armillary.core.values import Batch
from armillary.models import EncoderConfig, JEPAConfig, untrained
from armillary.models.config import Sensor
from armillary.training.processes import Processes
from armillary.training.terms import TERMS, EncodedClips, ObjectiveConfig

SIDE, CLIPS = 32, 48
OBJECTIVE = ObjectiveConfig(reconstruction=1.0, visual_words=1.0)
MODEL = JEPAConfig(
    sensors=("rgb",),
    encoder=EncoderConfig(image_size=SIDE, patch=8, tokens=2, width=4),
    frame_skip=1,
)


def bars(light: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures of a bar in the middle, turned at random, and its angle."""
    rng = torch.Generator().manual_seed(0)
    angle = math.pi * torch.rand(CLIPS, generator=rng)
    y, x = torch.meshgrid(*[torch.arange(SIDE) - (SIDE - 1) / 2] * 2, indexing="ij")
    along = x * angle.cos()[:, None, None] + y * angle.sin()[:, None, None]
    across = y * angle.cos()[:, None, None] - x * angle.sin()[:, None, None]
    bar = ((along.abs() < 10) & (across.abs() < 3)).float()
    brighter = light * torch.rand(CLIPS, 1, 1, generator=rng)
    picture = (80 + 100 * bar + brighter)[..., None].expand(-1, -1, -1, 3)
    return picture.round().to(torch.uint8)[:, None], angle


def clips(pictures: torch.Tensor, latents: torch.Tensor) -> EncodedClips:
    batch = Batch({"rgb": pictures}, None, torch.ones(len(pictures), 1, dtype=torch.bool))
    alone = Processes(0, 1, torch.device("cpu"))
    actions = latents.new_zeros(len(latents), 0, 0)
    return EncodedClips(untrained(MODEL, 0), batch, latents[:, None], actions, 0, 0, alone)


def least(pictures: torch.Tensor, known: torch.Tensor) -> float:
    """Return the loss of heads that were trained on latents which hold ``known``."""
    torch.manual_seed(0)
    latents = nn.functional.pad(known, (0, MODEL.latent_width - known.shape[1]))
    term = TERMS["reconstruction"](MODEL, OBJECTIVE)
    optimizer = torch.optim.Adam(term.parameters(), 3e-3)
    for _ in range(80):
        loss = term(clips(pictures, latents))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@pytest.mark.runs  # a decoder is trained: 8 s
def test_who_knows_the_angle_draws_the_picture_and_who_does_not_draws_the_mean():
    pictures, angle = bars()
    turned = torch.stack([(2 * angle).cos(), (2 * angle).sin()], 1)
    assert least(pictures, turned) < 0.4
    assert least(pictures, torch.zeros(CLIPS, 1)) == pytest.approx(1, abs=0.05)


def test_light_on_all_of_a_picture_is_not_asked_for():
    term = TERMS["reconstruction"](MODEL, OBJECTIVE)
    latents = torch.zeros(CLIPS, MODEL.latent_width)
    plain, lit = (term._target(clips(bars(light)[0], latents)) for light in (0.0, 60.0))
    # a byte is rounded
    assert (plain - lit).abs().max() < 0.02 * plain.abs().max()


@pytest.mark.parametrize("sensors", [("points",), ("rgb", "points"), ("rgb", "cloud")])
def test_what_is_seen_from_above_has_no_picture(sensors: tuple[Sensor, ...]):
    with pytest.raises(ConfigError, match=r"objective\.reconstruction needs a model that"):
        TERMS["reconstruction"](replace(MODEL, sensors=sensors), OBJECTIVE)

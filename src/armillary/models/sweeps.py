"""Sweeps: a network that foresees a laser scan from scans already moved to the new place.

Ego motion comes first: what was seen is warped by the odometry before the network looks at it, so
that it only learns what a warp cannot know: which of several surfaces shows at an edge, what lies
in a gap, how far the odometry is wrong. An encoder turns each beam's neighbourhood into a latent, a
predictor moves the latents on, given the action, and a decoder says which of the possible surfaces
each beam will meet. All beams share their weights, and the network looks only a few beams around:
it cannot learn where in the world a wall stands.

Axes: B scans, C channels, K surfaces, P beams, Q numbers about the motion.

Source: the order of things is COME's (arXiv 2506.13260): ego motion apart from scene change.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from armillary.models.range_mixture import FARTHEST_M, NEAREST_M, RangeMixture
from armillary.models.seeding import seeded
from armillary.spatial.scan_warp import range_slopes

SHIFTS = (0, -1, 1, -2, 2, -3, 3)  # beams by which an edge may be off
# m, m, rad: the most that the network may correct the motion, to first order
_CORRECTION = (0.2, 0.1, 0.06)
_MOST_SLOPE = 20.0
_ANYWHERE = -0.5  # log spread of the surface that may be anywhere


@dataclass(frozen=True)
class SweepView:
    """What is known about a scan before it is taken, in its own frame.

    Attributes:
        seen_m: [B C P] ranges in metres that may be met, the most likely first; nothing is NaN.
        hints: [B C P] masks and distances beside them: how much to believe.
        motion: [B Q] scaled numbers about the motion.
    """

    seen_m: Float[Tensor, "B _ P"]
    hints: Float[Tensor, "B _ P"]
    motion: Float[Tensor, "B Q"]


@dataclass(frozen=True)
class SweepConfig:
    """Sizes of the network.

    Attributes:
        seen: channels of ranges.
        hints: channels of hints.
        motion: numbers about the motion.
        width: channels of a beam's latent.
    """

    seen: int
    hints: int
    motion: int
    width: int = 32


class SweepForesight(nn.Module):
    """Foresees scans.

    Args:
        config: sizes.
        angles_rad: of the beams, evenly spaced.
    """

    def __init__(self, config: SweepConfig, angles_rad: Float[Tensor, " P"]) -> None:
        super().__init__()
        self.config = config
        width, surfaces = config.width, len(SHIFTS) + config.seen
        self.register_buffer("angles_rad", angles_rad.float(), persistent=False)
        self.embed = nn.Conv1d(
            config.seen + config.hints + 5, width, 5, padding=2, padding_mode="replicate"
        )
        self.encoder = nn.Sequential(_Beams(width, 1), _Beams(width, 3))
        self.action = nn.Sequential(
            nn.Linear(config.motion, 64), nn.GELU(), _silent(nn.Linear(64, 2 * width))
        )
        self.predictor = nn.Sequential(_Beams(width, 6), _Beams(width, 2))
        self.correction = nn.Sequential(
            nn.Linear(config.motion + width, 32), nn.GELU(), _silent(nn.Linear(32, 3))
        )
        self.decoder = nn.Conv1d(width, surfaces + 4, 1)
        nn.init.normal_(self.decoder.weight, std=0.01)
        # at first the first channel is believed, to about 3 % of the range
        bias = torch.zeros(surfaces + 4)
        bias[0] = 2.0
        bias[surfaces : surfaces + 2] = torch.tensor([-3.5, -2.5])
        self.decoder.bias = nn.Parameter(bias)

    def encode(self, view: SweepView) -> Float[Tensor, "B D P"]:
        """Return the latent of each beam."""
        count, _, beams = view.seen_m.shape
        rays = torch.stack([self.angles_rad.cos(), self.angles_rad.sin()])
        looks = [
            view.seen_m.log1p() / 1.5 - 1.5,
            view.hints,
            rays.expand(count, 2, beams),
            range_slopes(view.seen_m[:, 0], self.angles_rad).clamp(-10, 10) / 5,
        ]
        return self.encoder(self.embed(torch.cat(looks, 1)))

    def predict(
        self, latent: Float[Tensor, "B D P"], motion: Float[Tensor, "B Q"]
    ) -> Float[Tensor, "B D P"]:
        """Return the latents after the motion."""
        gain, shift = self.action(motion)[..., None].chunk(2, dim=1)
        return self.predictor(latent * (1 + gain) + shift)

    def decode(self, latent: Float[Tensor, "B D P"], view: SweepView) -> RangeMixture:
        """Return the surfaces that each beam may meet."""
        out = self.decoder(functional.gelu(latent))
        surfaces = len(SHIFTS) + self.config.seen
        weight, spread, free = out[:, :surfaces], out[:, surfaces : surfaces + 2], out[:, -2:]
        reach = max(SHIFTS)
        beams = view.seen_m.shape[-1]
        wide = functional.pad(view.seen_m[:, :1], (reach, reach), mode="replicate")
        near = torch.cat([wide[..., reach + s : reach + s + beams] for s in SHIFTS], 1)
        pooled = torch.cat([view.motion, latent.mean(-1)], 1)
        limit = self.angles_rad.new_tensor(_CORRECTION)
        slopes = range_slopes(view.seen_m[:, 0], self.angles_rad).clamp(-_MOST_SLOPE, _MOST_SLOPE)
        moved = torch.einsum("bi,bip->bp", self.correction(pooled).tanh() * limit, slopes)
        places = torch.cat([near + moved[:, None], view.seen_m[:, 1:]], 1)
        log_range = places.clamp(NEAREST_M, FARTHEST_M).log() + 0.1 * free[:, :1].tanh()
        # one surface stands where nothing was seen: it may be at any range
        anywhere = log_range[:, :1] + 2 * free[:, 1:].tanh()
        newest, older = spread.clamp(-6, 1).split(1, dim=1)
        spreads = [newest.expand_as(near), older.expand_as(view.seen_m[:, 1:])]
        log_scale = torch.cat([*spreads, torch.full_like(newest, _ANYWHERE)], 1)
        return RangeMixture(weight.log_softmax(1), torch.cat([log_range, anywhere], 1), log_scale)

    def forward(self, view: SweepView) -> RangeMixture:
        """Return what each beam may measure: decode(predict(encode))."""
        return self.decode(self.predict(self.encode(view), view.motion), view)


class _Beams(nn.Module):
    """A residual look at neighbouring beams, ``spacing`` apart."""

    def __init__(self, width: int, spacing: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(4, width)
        self.look = nn.Conv1d(
            width, width, 5, padding=2 * spacing, dilation=spacing, padding_mode="replicate"
        )
        self.out = _silent(nn.Conv1d(width, width, 1))

    def forward(self, latent: Tensor) -> Tensor:
        return latent + self.out(functional.gelu(self.look(self.norm(latent))))


def untrained_sweeps(
    config: SweepConfig, angles_rad: Float[Tensor, " P"], seed: int
) -> SweepForesight:
    """Return a network whose random weights depend on the seed alone."""
    with seeded(seed):
        return SweepForesight(config, angles_rad)


def _silent(layer: nn.Module) -> nn.Module:
    """Make a layer begin with zeros, so that what it adds starts as nothing."""
    for weights in layer.parameters():
        nn.init.zeros_(weights)
    return layer

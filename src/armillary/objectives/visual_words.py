"""Visual words: where in the scene each kind of local appearance is found.

A target made of the sensors alone. The vocabulary is learned from the recording: k-means over what
stands out locally (its colour relative to the surround and, where depth is measured, its height).
For each word the target is a density over a grid of places: seen from above where depth and pose
are known, else in the picture. A head on the latent predicts it, so the latent must hold where
things are. No label, no named colour, no background model and no fixed camera is involved.

Every word is normalised to a distribution over places, and the head is asked for its square root.
So a small thing counts as much as a large one. The head is also asked for the sum of places times
shares, which is where the word is on average.

Axes: F frames, P points, C channels, K words, G grid places (a square number).
Source: bags of visual words as targets (2002.12247, 2012.11552), here with their places.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from armillary.objectives.local_contrast import local_contrast
from armillary.objectives.moments import mean_over_processes, some_rows, sum_over_processes

_GROUND = 0.15  # lower than this share of the tallest is ground and noise
_MOST_SALIENT = 3.0  # deviations from the surround beyond which a pixel counts no more
_SOFTNESS = 2.0  # squared whitened distance over which a point is shared between words
_FLOOR = 0.03  # share of the mean variance below which a feature is noise and is not whitened
_FITTED_ON = 8192  # points that the vocabulary is learned from, about
_ROUNDS = 20  # of k-means
_LEAST_VARIANCE = 1e-6  # summed over frames; less counts as this much
_LEAST = 1.0  # a word with less than this much weight in a frame is not there


class Vocabulary(nn.Module):
    """Words of local appearance: centres of k-means on whitened features.

    Args:
        channels: C, numbers per point.
        count: K, words; few hold a thing together, many tell things apart.
    """

    centre: Tensor
    whitening: Tensor
    words: Tensor
    fitted: Tensor

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("whitening", torch.eye(channels))
        self.register_buffer("words", torch.zeros(count, channels))
        # 1 once the words are learned; a number, because checkpoints hold real numbers only
        self.register_buffer("fitted", torch.zeros(()))

    @torch.no_grad()
    def fit(self, features: Float[Tensor, "F P C"], weights: Float[Tensor, "F P"]) -> None:
        """Learn the words from the points of one batch, those of all processes.

        Args:
            features: of every point.
            weights: how much each stands out; 0 leaves it out.
        """
        told = some_rows(torch.cat([features, weights[..., None]], -1), 64).flatten(0, 1).double()
        weight = told[:, -1]
        if not float(weight.sum()) > 0:
            return  # nothing stands out yet; another batch may know better
        rng = torch.Generator().manual_seed(0)
        drawn = torch.multinomial(weight.cpu(), _FITTED_ON, replacement=True, generator=rng)
        points = told[drawn.to(told.device), :-1]
        centred = points - points.mean(0)
        covariance = centred.T @ centred / len(points)
        floor = _FLOOR * covariance.trace() / len(covariance) + 1e-9
        values, axes = torch.linalg.eigh(covariance)
        whitening = axes * (values + floor).rsqrt() @ axes.T
        white = centred @ whitening
        self.centre.copy_(points.mean(0))
        self.whitening.copy_(whitening)
        self.words.copy_(_k_means(white, len(self.words), rng))
        self.fitted.fill_(1.0)

    def forward(self, features: Float[Tensor, "F P C"]) -> Float[Tensor, "F P K"]:
        """Return what share of each point belongs to each word; they sum to 1."""
        white = (features - self.centre) @ self.whitening
        apart = torch.cdist(white, self.words.expand(len(white), -1, -1)).square()
        return (-apart / _SOFTNESS).softmax(-1)


def standing(
    scene: Float[Tensor, "F P 3"],
    colours: Float[Tensor, "F P 3"] | None,
    valid: Bool[Tensor, "F P"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return places, features and weights of points in the world, for a view from above.

    Args:
        scene: scene coordinates; x and y of the view are in -1..1, height is 0 on the ground.
        colours: red, green, blue, 0..1; None where there is no colour.
        valid: which points were measured.

    Returns:
        places [F P 2], features [F P C] (colours, where there are any, and height), and weights
        [F P]: 1 for what stands.
    """
    stands = valid & (scene[..., 2] > _GROUND) & (scene[..., :2].abs() <= 1).all(-1)
    height = scene[..., 2:].clamp(-1, 2)
    features = height if colours is None else torch.cat([colours, height], -1)
    return scene[..., :2], features, stands.to(scene.dtype)


def standing_out(
    pictures: Float[Tensor, "F H W C"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return places, features and weights of pixels, for a view of the picture itself.

    Args:
        pictures: any channels, in their units: colours, or colours and depth.

    Returns:
        places [F P 2] in -1..1, features [F P C]: differences from the mean of the surround, and
        weights [F P]: how far a pixel stands out, in deviations over the batch, cubed.
    """
    frames, _, _, channels = pictures.shape
    seen = pictures.permute(0, 3, 1, 2)
    differs = local_contrast(functional.avg_pool2d(seen, 2))
    features = differs.permute(0, 2, 3, 1).flatten(1, 2)
    flat = features.flatten(0, 1)
    covariance = mean_over_processes(flat.T @ flat / len(flat)).double()
    floor = 1e-3 * covariance.trace() / channels + 1e-9
    inverse = torch.linalg.inv(covariance + floor * torch.eye(channels, device=flat.device))
    salience = ((features @ inverse.to(flat.dtype)) * features).sum(-1).clamp_min(0).sqrt()
    weights = salience.clamp_max(_MOST_SALIENT).pow(3)
    y = torch.linspace(-1, 1, differs.shape[2], device=flat.device)
    x = torch.linspace(-1, 1, differs.shape[3], device=flat.device)
    down, right = torch.meshgrid(y, x, indexing="ij")
    places = torch.stack([right, down], -1).flatten(0, 1).expand(frames, -1, -1)
    return places, features, weights


def word_map(
    places: Float[Tensor, "F P 2"], shares: Float[Tensor, "F P K"], cells: int
) -> Float[Tensor, "F C"]:
    """Return for each word what share of it is around each grid place: [F cells*cells*K].

    Every point is shared among the four places around it, in proportion to nearness.

    Args:
        places: of points, x and y in -1..1.
        shares: how much of each point belongs to each word, weights included.
        cells: grid places a side.
    """
    frames, words = len(places), shares.shape[-1]
    place = (places.clamp(-1, 1) + 1) * ((cells - 1) / 2)
    corner = place.floor().clamp(0, cells - 2)
    part = place - corner
    first = (corner[..., 1] * cells + corner[..., 0]).long()
    first = first + torch.arange(frames, device=places.device)[:, None] * cells * cells
    sums = shares.new_zeros(frames * cells * cells, words)
    for down in (0, 1):
        for right in (0, 1):
            near = (part[..., 0] if right else 1 - part[..., 0]) * (
                part[..., 1] if down else 1 - part[..., 1]
            )
            index = (first + down * cells + right).flatten()
            sums.index_add_(0, index, (shares * near[..., None]).flatten(0, 1))
    weight = shares.sum(1, keepdim=True)
    density = sums.view(frames, cells * cells, words) / weight.clamp_min(_LEAST)
    return (density * (weight >= _LEAST)).flatten(1)


def word_target(maps: Float[Tensor, "F C"], cells: int) -> Float[Tensor, "F X"]:
    """Return what a head is asked for: the square root of a map, then its first moments.

    The squares of the root sum to 1 for each word that is there. Those of the map itself do so for
    a word in one place alone. For one that is spread over ten they sum to a tenth, so large things
    were hardly asked for.

    Args:
        maps: from ``word_map``, of K words.
        cells: grid places a side.

    Returns:
        [F C + 2 K].

    Source: the root of a histogram, Arandjelovic and Zisserman 2012 ("RootSIFT").
    """
    return torch.cat([maps.sqrt(), _moments(maps, cells)], 1)


def word_map_loss(
    predicted: Float[Tensor, "F X"], maps: Float[Tensor, "F C"], cells: int
) -> Float[Tensor, ""]:
    """Return the share of the variance over frames that is not explained of ``word_target(maps)``.

    The mean of two shares: of the root of the map, and of its first moments (where each word is on
    average), which a sum over places would drown. 1 for a head that predicts the batch's mean.

    Args:
        predicted: by a head.
        maps: from ``word_map``.
        cells: grid places a side.
    """
    wanted, parts = word_target(maps, cells), [maps.shape[1], predicted.shape[1] - maps.shape[1]]
    pairs = zip(predicted.float().split(parts, 1), wanted.split(parts, 1), strict=True)
    return torch.stack([unexplained(*pair) for pair in pairs]).mean()


def unexplained(predicted: Float[Tensor, "F C"], target: Float[Tensor, "F C"]) -> Float[Tensor, ""]:
    """Return the summed squared error as a share of the variance over frames.

    Under several processes both are those of the whole batch, so the value and its gradient do not
    depend on how the batch is divided.

    Args:
        predicted: by a head.
        target: what was measured.
    """
    usual = mean_over_processes(target.mean(0))
    variance = sum_over_processes((target - usual).square().sum())
    return sum_over_processes((predicted - target).square().sum()) / variance.clamp_min(
        _LEAST_VARIANCE
    )


def _moments(shares: Tensor, cells: int) -> Tensor:
    """Return sum of places times shares: [F K*2]."""
    side = torch.linspace(-1, 1, cells, device=shares.device)
    y, x = torch.meshgrid(side, side, indexing="ij")
    places = torch.stack([x, y], -1).flatten(0, 1)
    return (shares.view(len(shares), cells * cells, -1).mT @ places).flatten(1)


def _k_means(points: Float[Tensor, "N C"], count: int, rng: torch.Generator) -> Tensor:
    """Return the centres of k-means, begun as k-means++ (Arthur and Vassilvitskii 2007)."""
    first = int(torch.randint(len(points), (1,), generator=rng))
    centres = points[first : first + 1]
    for _ in range(count - 1):
        apart = torch.cdist(points, centres).amin(1).square() + 1e-12
        chosen = int(torch.multinomial(apart.cpu(), 1, generator=rng))
        centres = torch.cat([centres, points[chosen : chosen + 1]])
    for _ in range(_ROUNDS):
        nearest: Int[Tensor, " N"] = torch.cdist(points, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=count)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
    return centres

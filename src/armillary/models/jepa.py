"""JEPA: a joint-embedding predictive architecture that sees, remembers and foresees.

``encode`` turns sensor streams into state tokens, ``rollout`` foresees tokens under plans. Trained
without actions it is a plain video model: the action then has width 0.

Axes: B batch, T time, N tokens, D width, Z = N*D the flattened latent, S plans, L plan length.
Source: LeCun 2022, "A path towards autonomous machine intelligence"; LeWM 2603.19312.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError, ShapeError, unknown_name
from armillary.core.values import Batch, Latent
from armillary.models.encoder import Encoder, EncoderConfig
from armillary.models.normalizer import Normalizer
from armillary.models.predictor import Predictor, PredictorConfig
from armillary.models.tokenizers import (
    PointMapTokenizer,
    ProprioTokenizer,
    RGBTokenizer,
    grid_places,
)

Sensor = Literal["rgb", "points", "proprio"]
STREAMS_OF: dict[str, tuple[str, ...]] = {
    "rgb": ("rgb",),
    "points": ("depth_m", "world_from_camera", "intrinsics"),
    "proprio": ("proprio",),
}


@dataclass(frozen=True)
class JEPAConfig:
    """Shape of the whole model.

    Attributes:
        sensors: what it sees: ``rgb``, ``points`` (depth, camera and pose), ``proprio``.
        encoder: shape of the encoder.
        predictor: shape of the predictor.
        point_stride: every how many pixels depth becomes a point.
        frame_skip: world steps per model step; actions in between are concatenated.
        action_width: A of one model step; 0 for plain video.
        proprio_width: Q; 0 without proprioception.
    """

    sensors: tuple[Sensor, ...] = ("rgb", "points")
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    point_stride: int = 2
    frame_skip: int = 1
    action_width: int = 2
    proprio_width: int = 0

    def __post_init__(self) -> None:
        for sensor in self.sensors:
            if sensor not in STREAMS_OF:
                raise unknown_name("sensor", sensor, STREAMS_OF)
        if not self.sensors:
            raise ConfigError("model.sensors must name at least one of rgb, points, proprio.")
        stride = self.point_stride
        if self.frame_skip < 1 or stride < 1 or self.encoder.patch % stride:
            raise ConfigError(
                "model.frame_skip must be at least 1 and model.point_stride must divide "
                f"encoder.patch, got {self.frame_skip}, {stride}, {self.encoder.patch}."
            )
        if min(self.action_width, self.proprio_width) < 0:
            raise ConfigError(
                "model.action_width and model.proprio_width must be at least 0, got "
                f"{self.action_width} and {self.proprio_width}."
            )

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the batch streams that the model reads."""
        return tuple(name for sensor in self.sensors for name in STREAMS_OF[sensor])

    @property
    def latent_width(self) -> int:
        """Z, the width of the flattened latent."""
        return self.encoder.tokens * self.encoder.width


class JEPA(nn.Module):
    """Tokenizers, encoder, predictor and the scales they were trained with.

    Args:
        config: its shape.
    """

    grid: Tensor

    def __init__(self, config: JEPAConfig) -> None:
        super().__init__()
        self.config = config
        patch, width = config.encoder.patch, config.encoder.patch_hidden
        self.tokenizers = nn.ModuleDict()
        if "rgb" in config.sensors:
            self.tokenizers["rgb"] = RGBTokenizer(patch, width)
        if "points" in config.sensors:
            self.tokenizers["points"] = PointMapTokenizer(patch, config.point_stride, width)
        if "proprio" in config.sensors:
            if not config.proprio_width:
                raise ConfigError("A model that sees proprio needs model.proprio_width above 0.")
            self.tokenizers["proprio"] = ProprioTokenizer(config.proprio_width, width)
        self.encoder = Encoder(config.encoder)
        self.predictor = Predictor(config.predictor, config.latent_width, config.action_width)
        self.normalizer = Normalizer(config.action_width, config.proprio_width)
        grid = grid_places(config.encoder.image_size, patch)
        self.register_buffer("grid", grid, persistent=False)

    def encode(self, batch: Batch) -> Latent:
        """Return the latent of every step.

        Args:
            batch: clips with at least the streams ``config.streams``.

        Raises:
            ShapeError: a stream is missing, or a picture or an action has another width.
        """
        self._check(batch)
        frames = {name: batch.streams[name].flatten(0, 1) for name in self.config.streams}
        tokens = self.encoder(*self._features(frames)).float()
        # a single step has no actions after it, whatever a model step is made of
        between = self.config.action_width and batch.valid.shape[1] > 1
        actions = batch.actions if between else None
        return Latent(tokens.unflatten(0, batch.valid.shape), actions)

    def rollout(
        self, latent: Latent, plans: Float[Tensor, "B S L A"]
    ) -> Float[Tensor, "B S L N D"]:
        """Return the latents that each plan leads to, from the last step of ``latent``.

        Args:
            latent: what was seen; its earlier steps and actions fill the memory.
            plans: candidate actions in the world's units (width 0 for plain video).

        Raises:
            ShapeError: the plans have another action width than the model.
        """
        width = self.config.action_width
        if plans.shape[-1] != width:
            raise ShapeError(
                f"The model takes actions of width {width}, the plans have width {plans.shape[-1]}."
            )
        batch, candidates = plans.shape[:2]
        state, memory = self.start(latent, candidates)
        actions = self.normalizer.actions(plans).flatten(0, 1)
        foreseen = self.foresee(state, memory, actions)
        tokens = foreseen.unflatten(-1, latent.tokens.shape[2:])
        return tokens.unflatten(0, (batch, candidates))

    def start(
        self, latent: Latent, candidates: int
    ) -> tuple[Float[Tensor, "BS Z"], Float[Tensor, "BS M"]]:
        """Return flattened state and memory from which ``step`` goes on, once per candidate.

        Args:
            latent: what was seen; its earlier steps and actions fill the memory.
            candidates: S, copies of each batch element, which stand side by side.
        """
        state, memory = self._remember(latent)
        return state.repeat_interleave(candidates, 0), memory.repeat_interleave(candidates, 0)

    def step(
        self,
        state: Float[Tensor, "BS Z"],
        memory: Float[Tensor, "BS M"],
        actions: Float[Tensor, "BS A"],
    ) -> tuple[Float[Tensor, "BS Z"], Float[Tensor, "BS M"]]:
        """Return state and memory one model step later (actions in the world's units)."""
        return self.predictor(state, self.normalizer.actions(actions), memory)

    def foresee(
        self,
        state: Float[Tensor, "B Z"],
        memory: Float[Tensor, "B M"],
        actions: Float[Tensor, "B L A"],
    ) -> Float[Tensor, "B L Z"]:
        """Roll the predictor out on its own foresight (actions normalised)."""
        later = []
        for action in actions.unbind(1):
            state, memory = self.predictor(state, action, memory)
            later.append(state)
        return torch.stack(later, 1)

    def foresee_each(self, latent: Latent) -> Float[Tensor, "B moves N D"]:
        """Return what was foreseen of steps 1 to T-1, each from all that was seen before it.

        Args:
            latent: what was seen, with the actions between the steps (or none, for plain video).
        """
        states = latent.tokens.flatten(2)
        batch, steps = states.shape[:2]
        actions = states.new_zeros(batch, steps - 1, self.config.action_width)
        if latent.actions is not None:
            actions = self.normalizer.actions(latent.actions)
        memory, foreseen = self.predictor.start(states[:, 0]), []
        for step in range(steps - 1):
            state, memory = self.predictor(states[:, step], actions[:, step], memory)
            foreseen.append(state)
        return torch.stack(foreseen, 1).unflatten(2, latent.tokens.shape[2:])

    def no_actions(self, batch: int, plans: int, length: int) -> Float[Tensor, "B S L A"]:
        """Return plans of width 0, for a model of plain video."""
        return torch.zeros(batch, plans, length, 0)

    def _remember(self, latent: Latent) -> tuple[Tensor, Tensor]:
        """Return the last flattened state [B Z] and the memory of the steps before it [B M]."""
        states = latent.tokens.flatten(2)
        memory = self.predictor.start(states[:, 0])
        if latent.actions is not None:
            actions = self.normalizer.actions(latent.actions)
        else:
            actions = states.new_zeros(*states.shape[:2], self.config.action_width)
        for step in range(states.shape[1] - 1):
            memory = self.predictor.remember(states[:, step], actions[:, step], memory)
        return states[:, -1], memory

    def _features(self, frames: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Sum the patch features of all sensors [F P C], and say where patches lie [F P 3]."""
        terms = []
        places = self.grid.expand(len(frames[self.config.streams[0]]), -1, -1)
        if "rgb" in self.config.sensors:
            terms.append(self.tokenizers["rgb"](frames["rgb"]))
        if "points" in self.config.sensors:
            scales = self.normalizer.point_mean_m, self.normalizer.point_scale_m
            geometry = (frames["depth_m"], frames["intrinsics"], frames["world_from_camera"])
            features, places = self.tokenizers["points"](*geometry, *scales)
            terms.append(features)
        if "proprio" in self.config.sensors:
            proprio = self.normalizer.proprio(frames["proprio"])
            features = self.tokenizers["proprio"](proprio)
            terms.append(features.expand(-1, self.config.encoder.num_patches, -1))
        return sum(terms[1:], start=terms[0]), places

    def _check(self, batch: Batch) -> None:
        missing = [name for name in self.config.streams if name not in batch.streams]
        if missing:
            raise ShapeError(
                f"The model sees {', '.join(self.config.streams)}; the data lack "
                f"{', '.join(missing)}. Train with other model.sensors or record these streams."
            )
        size = self.config.encoder.image_size
        for name in ("rgb", "depth_m"):
            if name in self.config.streams and batch.streams[name].shape[2:4] != (size, size):
                came = "x".join(str(side) for side in batch.streams[name].shape[2:4])
                raise ShapeError(f"The model sees {name} of {size}x{size}, the data have {came}.")
        if "proprio" in self.config.sensors:
            width = batch.streams["proprio"].shape[-1]
            if width != self.config.proprio_width:
                raise ShapeError(
                    f"The model sees proprio of width {self.config.proprio_width}, the data have "
                    f"width {width}."
                )
        width = self.config.action_width
        if not width or batch.actions is None or not batch.actions.shape[1]:
            return
        if batch.actions.shape[-1] != width:
            raise ShapeError(
                f"The model takes actions of width {width}, the data have width "
                f"{batch.actions.shape[-1]}."
            )


def untrained(config: JEPAConfig, seed: int) -> JEPA:
    """Return a model with random weights that depend on the seed alone.

    Args:
        config: its shape.
        seed: names the weights.
    """
    with torch.random.fork_rng(devices=[]):
        # not torch.manual_seed, which also reseeds accelerators, and fork_rng restores only the CPU
        torch.default_generator.manual_seed(seed)
        return JEPA(config)

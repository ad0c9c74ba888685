"""JEPA: a joint-embedding predictive architecture that sees, remembers and foresees.

``encode`` turns sensor streams into state tokens, ``rollout`` foresees tokens under plans. Trained
without actions it is a plain video model: the action then has width 0.

Axes: B batch, T time, N tokens, D width, Z = N*D the flattened latent, S plans, L plan length.
Source: LeCun 2022, "A path towards autonomous machine intelligence"; LeWM 2603.19312.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.values import Batch, Latent
from armillary.models.config import STREAMS_OF, JEPAConfig
from armillary.models.normalizer import Normalizer
from armillary.models.seeding import seeded
from armillary.models.senses import Kept, Senses, clip_masks
from armillary.models.sizes import make_encoder, make_predictor
from armillary.models.tokenizers import grid_places


class JEPA(nn.Module):
    """Tokenizers, encoder, predictor and the scales they were trained with.

    Args:
        config: its shape.

    Attributes:
        step_s: seconds of a model step in the data that it learned from; None where unknown.

    Raises:
        ConfigError: ``config.frame_skip`` is 0, or no sensor is named.
    """

    grid: Tensor

    def __init__(self, config: JEPAConfig) -> None:
        super().__init__()
        if config.frame_skip < 1:
            raise ConfigError("A model needs model.frame_skip of at least 1; only a recipe has 0.")
        if not config.sensors:
            raise ConfigError(
                f"A model needs at least one of {', '.join(STREAMS_OF)}, in model.sensors; only a "
                "recipe may leave them to the data."
            )
        self.config = config
        self.step_s: float | None = None
        self.tokenizers = Senses(config)
        cameras = 1 + len(config.cameras)
        self.encoder = make_encoder(config.encoder, config.on_grid, config.loose, cameras)
        self.predictor = make_predictor(config.predictor, config.encoder, config.action_width)
        self.normalizer = Normalizer(
            config.action_width,
            config.proprio_width,
            camera=not {"depth", "points_camera"}.isdisjoint(config.sensors),
            scan="scan" in config.sensors,
            whitened="rgb" in config.sensors
            and config.encoder.colours == "whitened"
            and not config.trunk,
        )
        grid = grid_places(config.encoder.image_size, config.encoder.patch)
        self.register_buffer("grid", grid, persistent=False)

    def __repr__(self) -> str:
        config, count = self.config, sum(weights.numel() for weights in self.parameters())
        encoder, sensors = config.encoder, " + ".join((*config.sensors, *config.cameras))
        acts = f"actions of {config.action_width}" if config.action_width else "no actions"
        return (
            f"JEPA({sensors} at {encoder.image_size} px -> {encoder.tokens} tokens of "
            f"{encoder.width}; {acts}; {count:,} parameters)"
        )

    def encode(self, batch: Batch, kept: Kept | None = None) -> Latent:
        """Return the latent of every step, each as it looks alone.

        Args:
            batch: clips with at least the streams ``config.required_streams``, and all of at least
                one sensor.
            kept: by sensor, in which clips it is used [B], or False to leave it out; a sensor that
                is not named is used wherever its streams are there.

        Raises:
            ShapeError: a stream is missing, or a picture or an action has another width.
        """
        self._check(batch)
        steps = batch.valid.shape[1]
        frames = {
            name: batch.streams[name].flatten(0, 1)
            for name in (*self.config.streams, *self.config.derived_streams)
            if name in batch.streams
        }
        masks = clip_masks(kept or {}, steps)
        told = self.tokenizers(frames, self.normalizer, self.grid, masks)
        tokens = self.encoder(*told).float()
        # a single step has no actions after it, whatever a model step is made of
        between = self.config.action_width and steps > 1
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

    def _check(self, batch: Batch) -> None:
        missing = [name for name in self.config.required_streams if name not in batch.streams]
        if missing:
            raise ShapeError(
                f"The model sees {', '.join(self.config.streams)}; the data lack "
                f"{', '.join(missing)}. Train with other model.sensors or record these streams."
            )
        if not any(batch.streams.keys() >= {*STREAMS_OF[name]} for name in self.config.sensors):
            raise ShapeError(
                f"The model sees {', '.join(self.config.sensors)}, each of which may be missing, "
                "but not all of them; the data have none."
            )
        size = self.config.encoder.image_size
        for name in ("rgb", *self.config.cameras, "depth_m"):
            if name not in self.config.streams or name not in batch.streams:
                continue
            if batch.streams[name].shape[2:4] != (size, size):
                came = "x".join(str(side) for side in batch.streams[name].shape[2:4])
                raise ShapeError(f"The model sees {name} of {size}x{size}, the data have {came}.")
        if "proprio" in self.config.sensors and "proprio" in batch.streams:
            width = batch.streams["proprio"].shape[-1]
            if width != self.config.proprio_width:
                raise ShapeError(
                    f"The model sees proprio of width {self.config.proprio_width}, the data have "
                    f"width {width}."
                )
        self._check_ranges_and_clouds(batch)
        width = self.config.action_width
        if not width or batch.actions is None or not batch.actions.shape[1]:
            return
        if batch.actions.shape[-1] != width:
            raise ShapeError(
                f"The model takes actions of width {width}, the data have width "
                f"{batch.actions.shape[-1]}."
            )

    def _check_ranges_and_clouds(self, batch: Batch) -> None:
        for stream, sensor, count, of in (
            ("lidar", "scan", len(self.config.azimuths_rad), "beams"),
            ("points", "cloud", 3 + self.config.cloud_features, "numbers a point"),
        ):
            if sensor not in self.config.sensors or stream not in batch.streams:
                continue
            came = batch.streams[stream].shape[-1]
            if came < count or (sensor == "scan" and came > count):
                raise ShapeError(f"The model sees {stream} of {count} {of}, the data have {came}.")


def untrained(config: JEPAConfig, seed: int) -> JEPA:
    """Return a model with random weights that depend on the seed alone.

    Args:
        config: its shape.
        seed: names the weights.
    """
    with seeded(seed):
        return JEPA(config)

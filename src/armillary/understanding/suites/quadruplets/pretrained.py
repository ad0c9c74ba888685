"""Pretrained judges: V-JEPA 2 and VideoMAE from a local folder, through ``transformers``.

Both see time in tubelets of two frames. Each tubelet is predicted from those before it, as many as
fit the model's window:

    vjepa2     The frames before it are encoded alone (what ``VJEPA2Model`` calls its context has
               seen the whole clip, the future included, so it is not used), the predictor is
               asked for the tokens of the tubelet, and these are compared with what the encoder
               makes of the whole window, layer-normed: mean absolute error, as in V-JEPA's own
               intuitive-physics evaluation.
    videomae   The tubelet is masked, and its pixels are predicted; mean squared error of patches
               that are normalised one by one if the model was trained so.

Nothing is downloaded, and no code of the folder is run.

Axes: B clips, T frames, N tokens, D width. Values at index t belong to step t+1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import CheckpointError, ShapeError
from armillary.core.files import read_json
from armillary.core.optional import require
from armillary.understanding.suites.quadruplets.judges import Frames, Pans, Surprise

KINDS = ("vjepa2", "videomae")
_CLASSES = {"vjepa2": "VJEPA2Model", "videomae": "VideoMAEForPreTraining"}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet; both were trained so


@dataclass(frozen=True)
class PretrainedJudge:
    """A model of video that was trained elsewhere.

    Attributes:
        model: of ``transformers``.
        kind: one of ``KINDS``.
    """

    model: Any
    kind: str

    @torch.no_grad()
    def surprise(self, frames: Frames, pans: Pans) -> Surprise:
        """Return the error of each tubelet, for both of its steps; the first one has 0.

        Raises:
            ShapeError: an odd number of frames.
        """
        tubelet = self.model.config.tubelet_size
        if frames.shape[1] % tubelet:
            raise ShapeError(
                f"The model sees {tubelet} frames at a time; clips of {frames.shape[1]} do not fit."
            )
        video = self._prepared(frames)
        error = self._vjepa2_error if self.kind == "vjepa2" else self._videomae_error
        ends = range(2 * tubelet, video.shape[1] + 1, tubelet)
        errors = [torch.zeros(len(video)), *(error(video[:, :end]) for end in ends)]
        steps = torch.stack(errors, 1).repeat_interleave(tubelet, 1)[:, 1:]
        return steps.float().numpy()

    def _prepared(self, frames: Frames) -> Float[Tensor, "B T 3 side side"]:
        """Return pictures at the model's size, in the units that it was trained with."""
        config = self.model.config
        side = getattr(config, "crop_size", None) or config.image_size
        pictures = torch.from_numpy(np.ascontiguousarray(frames)).flatten(0, 1)
        pictures = pictures.permute(0, 3, 1, 2).float() / 255
        pictures = nn.functional.interpolate(pictures, (side, side), mode="bilinear")
        mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
        return ((pictures - mean) / std).unflatten(0, frames.shape[:2])

    def _vjepa2_error(self, video: Tensor) -> Float[Tensor, " B"]:
        config = self.model.config
        window = video[:, -config.frames_per_clip :]
        tubelets = window.shape[1] // config.tubelet_size
        whole = self.model.encoder(pixel_values_videos=window).last_hidden_state
        tokens = whole.shape[1] // tubelets
        before = self.model.encoder(pixel_values_videos=window[:, : -config.tubelet_size])
        known, asked = (
            torch.arange(*span).expand(len(video), -1)
            for span in ((0, whole.shape[1] - tokens), (whole.shape[1] - tokens, whole.shape[1]))
        )
        predicted = self.model.predictor(
            encoder_hidden_states=before.last_hidden_state,
            context_mask=[known],
            target_mask=[asked],
        ).last_hidden_state
        target = nn.functional.layer_norm(whole[:, -tokens:], whole.shape[-1:])
        return (predicted - target).abs().mean((1, 2))

    def _videomae_error(self, video: Tensor) -> Float[Tensor, " B"]:
        config = self.model.config
        missing = config.num_frames - video.shape[1]
        window = video[:, -config.num_frames :]
        if missing > 0:  # its places are fixed: the clip stands still before it begins
            window = torch.cat([window[:, :1].expand(-1, missing, -1, -1, -1), window], 1)
        tokens = (config.image_size // config.patch_size) ** 2
        masked = torch.zeros(len(video), tokens * config.num_frames // config.tubelet_size).bool()
        masked[:, -tokens:] = True
        predicted = self.model(window, bool_masked_pos=masked).logits
        patches = _patches(window[:, -config.tubelet_size :], config.patch_size)
        if config.norm_pix_loss:
            mean, var = patches.mean(2, keepdim=True), patches.var(2, keepdim=True)
            patches = (patches - mean) / (var.sqrt() + 1e-6)
        return (predicted - patches.flatten(2)).square().mean((1, 2))


@dataclass(frozen=True)
class PretrainedPanel:
    """Makes the judge of a folder, in the judges' own process."""

    folder: Path

    def __call__(self) -> Callable[[Frames, Pans], dict[str, Surprise]]:
        """Return the panel."""
        judge = load_pretrained(self.folder)
        return lambda frames, pans: {"model": judge.surprise(frames, pans)}


def is_pretrained(folder: Path) -> bool:
    """Tell whether a folder holds a model of ``transformers`` that can judge."""
    file = folder / "config.json"
    if not file.is_file():
        return False
    value = read_json(file)
    return isinstance(value, dict) and value.get("model_type") in KINDS


def load_pretrained(folder: Path) -> PretrainedJudge:
    """Load a judge; weights come from safetensors alone.

    Raises:
        CheckpointError: not such a folder.
        MissingExtraError: ``transformers`` is not installed.
    """
    if not is_pretrained(folder):
        raise CheckpointError(f"{folder}: is not a model of the kinds {', '.join(KINDS)}.")
    transformers = require("transformers", "pretrained", "use V-JEPA 2 and VideoMAE")
    kind = read_json(folder / "config.json")["model_type"]
    maker = getattr(transformers, _CLASSES[kind])
    try:
        model = maker.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,  # whatever it was saved in
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: cannot be loaded: {error}") from error
    return PretrainedJudge(model.eval(), kind)


def _patches(frames: Tensor, side: int) -> Float[Tensor, "B N P C"]:
    """Return the pixels [0, 1] of one tubelet [B t 3 H W], patch by patch (time, rows, columns)."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    pixels = frames * std + mean
    batch, time, channels, height, width = pixels.shape
    rows, columns = height // side, width // side
    pixels = pixels.reshape(batch, time, channels, rows, side, columns, side)
    return pixels.permute(0, 3, 5, 1, 4, 6, 2).reshape(batch, rows * columns, -1, channels)

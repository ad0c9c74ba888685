"""LeWM and PLDM, put together from the installed package's classes as its configurations do.

Imported only where ``stable-worldmodel`` and ``transformers`` are installed.

Axes: B windows, T frames, H W image, A action of a model step, D latent.
Source: Maes et al. 2026 (LeWorldModel); Sobal et al. 2025 (2502.14819); stable-worldmodel 0.1.1.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.benchmark.ground.settings import HISTORY, PeerTraining

_WIDTH = 192


class LeWMNetwork(nn.Module):
    """LeWM's world model and its loss: next-embedding error and SIGReg.

    Args:
        settings: of its training.
        action_width: A of one model step.
    """

    def __init__(self, settings: PeerTraining, action_width: int) -> None:
        super().__init__()
        from stable_worldmodel.wm.lewm import LeWM, module  # pyrefly: ignore
        from stable_worldmodel.wm.loss import SIGReg  # pyrefly: ignore

        self.settings = settings
        self.world_model = LeWM(**_parts(module, settings, action_width))
        self.sigreg = SIGReg(knots=17, num_proj=1024)

    def loss(
        self, pixels: Float[Tensor, "B T 3 H W"], actions: Float[Tensor, "B gaps A"]
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch of windows."""
        latents, error = _foreseen(self.world_model, pixels, actions)
        return error + self.settings.sigreg * self.sigreg(latents.transpose(0, 1))


class PLDMNetwork(nn.Module):
    """PLDM's world model and its loss: next-embedding error, variance, covariance, slowness.

    Args:
        settings: of its training.
        action_width: A of one model step.
    """

    def __init__(self, settings: PeerTraining, action_width: int) -> None:
        super().__init__()
        from stable_worldmodel.wm.loss import PLDMLoss  # pyrefly: ignore
        from stable_worldmodel.wm.pldm import PLDM, module  # pyrefly: ignore

        self.settings = settings
        self.world_model = PLDM(**_parts(module, settings, action_width))
        self.idm = module.MLP(input_dim=2 * _WIDTH, hidden_dim=512, output_dim=action_width)
        self.terms = PLDMLoss()

    def loss(
        self, pixels: Float[Tensor, "B T 3 H W"], actions: Float[Tensor, "B gaps A"]
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch of windows."""
        latents, loss = _foreseen(self.world_model, pixels, actions)
        guessed = self.idm(torch.cat([latents[:, 1:], latents[:, :-1]], dim=-1))
        terms = self.terms(latents, guessed, actions)
        for name in ("std", "std_t", "cov", "cov_t", "temp_align", "idm"):
            loss = loss + getattr(self.settings, name) * terms[f"{name}_loss"]
        return loss


def _foreseen(
    model: Any, pixels: Float[Tensor, "B T 3 H W"], actions: Float[Tensor, "B gaps A"]
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, ""]]:
    """Return the latents of a window and the mean squared error of the next ones foreseen."""
    seen = model.encode({"pixels": pixels, "action": actions})
    latents = seen["emb"]
    foreseen = model.predict(latents[:, :HISTORY], seen["act_emb"][:, :HISTORY])
    return latents, (foreseen - latents[:, 1:]).pow(2).mean()


def _parts(module: Any, settings: PeerTraining, action_width: int) -> dict[str, nn.Module]:
    """Return encoder (ViT-tiny), predictor, action encoder and heads, which both share in kind."""
    from transformers import ViTConfig, ViTModel  # pyrefly: ignore

    vit = ViTConfig(
        hidden_size=_WIDTH,
        num_hidden_layers=12,
        num_attention_heads=3,
        intermediate_size=4 * _WIDTH,
        image_size=settings.image_size,
        patch_size=settings.patch_side,
    )
    predictor = module.Predictor(
        num_frames=HISTORY,
        input_dim=_WIDTH,
        hidden_dim=_WIDTH,
        output_dim=_WIDTH,
        depth=6,
        heads=16,
        mlp_dim=2048,
        dim_head=64,
        dropout=0.1,
        emb_dropout=0.0,
    )
    return {
        "encoder": ViTModel(vit, add_pooling_layer=False, use_mask_token=False),
        "predictor": predictor,
        "action_encoder": module.Embedder(input_dim=action_width, emb_dim=_WIDTH),
        "projector": _head(module),
        "pred_proj": _head(module),
    }


def _head(module: Any) -> nn.Module:
    return module.MLP(input_dim=_WIDTH, output_dim=_WIDTH, hidden_dim=2048, norm_fn=nn.BatchNorm1d)

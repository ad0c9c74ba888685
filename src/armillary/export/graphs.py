"""Graphs: encoder, predictor and goal policy as networks of plain tensors, ready for ONNX.

Each takes and returns what a robot has: sensors as they come, actions in the robot's unit. So all
scales are inside, and whoever runs a graph normalises nothing.

Axes: B batch, N tokens, D width of a token, M memory, A action of a model step, K world steps of a
model step, H W image.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.errors import ConfigError
from armillary.core.values import Batch
from armillary.data.depth import FARTHEST_MM
from armillary.data.windows import METRES_PER_MM
from armillary.models import JEPA
from armillary.models.config import JEPAConfig
from armillary.models.goal_policy import SHARE, GoalPolicy

# Which points are grouped depends on ties and last bits; another runtime may group other ones.
NOT_EXPORTED = ("cloud", "depth_cloud", "filled_cloud")
_STREAM_OF = {"depth": "depth_m"}


def check_sensors(config: JEPAConfig) -> None:
    """Refuse a model with sensors or a trunk that cannot be exported.

    Raises:
        ConfigError: it has one.
    """
    if found := [name for name in config.sensors if name in NOT_EXPORTED]:
        raise ConfigError(
            f"The model sees {', '.join(found)}, which cannot be exported. Train one without it, "
            "or serve this one with: armillary serve"
        )
    if config.trunk:
        raise ConfigError(
            f"The model sees through the trunk {config.trunk.partition('@')[0]}, which is no part "
            "of it and cannot be exported. Serve this model with: armillary serve"
        )


class EncoderGraph(nn.Module):
    """Sensors of one step -> tokens.

    Args:
        model: encodes.
        inputs: names of the observation streams, in the order of the arguments.
    """

    def __init__(self, model: JEPA, inputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, *values: Tensor) -> tuple[Float[Tensor, "B N D"]]:
        """Return the tokens of sensors as a robot gives them, a batch of each."""
        streams = {}
        for name, value in zip(self.inputs, values, strict=True):
            value = whole_millimetres(value) if name == "depth" else value
            streams[_STREAM_OF.get(name, name)] = value[:, None]
        valid = torch.ones(values[0].shape[0], 1, dtype=torch.bool)
        return (self.model.encode(Batch(streams, None, valid)).tokens[:, 0],)


def whole_millimetres(depth_m: Float[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    """Return depth as models are trained on it: rounded to millimetres, 0 where invalid.

    Args:
        depth_m: camera z in metres; NaN, inf and 0 are invalid.
    """
    millimetres = (depth_m.double() * 1000.0).round()
    valid = (millimetres > 0) & (millimetres <= FARTHEST_MM)  # False for NaN
    return torch.where(valid, millimetres, 0.0).float() * METRES_PER_MM


class PredictorGraph(nn.Module):
    """Tokens, action, memory -> tokens and memory one model step later.

    Args:
        model: predicts.
    """

    def __init__(self, model: JEPA) -> None:
        super().__init__()
        self.model = model

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Return the predicted tokens [B N D], and the memory where the model has one.

        Args:
            values: tokens [B N D]; the action [B K A] where the model takes one, in the robot's
                unit; the memory [B M] where it has one, zeros at first.
        """
        tokens, *more = values
        state, config = tokens.flatten(1), self.model.config
        action = more.pop(0).flatten(1) if config.action_width else state[:, :0]
        memory = more.pop(0) if config.predictor.memory else state[:, :0]
        later, kept = self.model.step(state, memory, action)
        shaped = later.unflatten(1, (config.encoder.tokens, config.encoder.width))
        return (shaped, kept) if config.predictor.memory else (shaped,)


class PolicyGraph(nn.Module):
    """Tokens now, tokens of the goal, model steps left -> actions of a model step.

    Args:
        policy: acts.
        frame_skip: K.
    """

    def __init__(self, policy: GoalPolicy, frame_skip: int) -> None:
        super().__init__()
        self.policy, self.frame_skip = policy, frame_skip

    def forward(self, *values: Tensor) -> tuple[Float[Tensor, "B K A"]]:
        """Return the likeliest actions, in the robot's unit and perhaps out of its limits.

        Args:
            values: tokens [B N D], tokens of the goal [B N D], model steps until the deadline [B].
        """
        tokens, goal_tokens, steps_left = values
        # as ``GoalPolicy.goal_time``, for a batch
        steps = torch.minimum(SHARE * steps_left, self.policy.farthest).clamp_min(1.0)
        mean, _ = self.policy(tokens.flatten(1), goal_tokens.flatten(1), steps)
        meant = mean * self.policy.action_std + self.policy.action_mean
        return (meant.unflatten(1, (self.frame_skip, -1)),)


def inverse_3x3(matrix: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
    """Return inverses by cofactors, since ONNX has no operator for an inverse."""
    rows = matrix.unbind(-2)
    crossed = [
        _cross(rows[1], rows[2]),
        _cross(rows[2], rows[0]),
        _cross(rows[0], rows[1]),
    ]
    determinant = (rows[0] * crossed[0]).sum(-1)
    return torch.stack(crossed, -1) / determinant[..., None, None]


def _cross(left: Tensor, right: Tensor) -> Tensor:
    a, b, c = left.unbind(-1)
    d, e, f = right.unbind(-1)
    return torch.stack([b * f - c * e, c * d - a * f, a * e - b * d], -1)

"""Sharding: every process holds a share of each parameter (torch's FSDP2).

A module's parameters are gathered for its forward and its backward pass, and freed after either.
The encoder's blocks are gathered one at a time, all else at once.
"""

from __future__ import annotations

import warnings

import torch
import torch.distributed as dist
from torch import Tensor, nn

from armillary.models import JEPA, untrained
from armillary.training.compute import blocks_of
from armillary.training.processes import Processes


def shard(module: nn.Module, model: JEPA, processes: Processes) -> None:
    """Leave each process its share of a module's parameters.

    Args:
        module: the model or what contains it; it is changed.
        model: whose encoder's blocks are gathered one at a time.
        processes: that share it.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard  # takes a second, so not in every training

    # nobody writes in place into what a module returns
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    for block in blocks_of(model.encoder):
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)


def free_gathered(module: nn.Module) -> None:
    """Keep only this process's share, after a forward pass that no backward pass follows."""
    from torch.distributed.fsdp import FSDPModule

    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


@torch.no_grad()
def whole_model(model: JEPA) -> JEPA:
    """Return a copy of a sharded model that is whole; every process must call this.

    Args:
        model: sharded.
    """
    whole = untrained(model.config, 0)
    whole.load_state_dict({name: whole_tensor(t).cpu() for name, t in model.state_dict().items()})
    trains = all(parameter.requires_grad for parameter in model.parameters())
    device = next(model.parameters()).device
    return whole.to(device).requires_grad_(trains).train(model.training)


@torch.no_grad()
def clip_gradients(module: nn.Module, limit: float, sharded: bool) -> Tensor:
    """Scale the gradients so that their norm is at most a limit; return the norm that they had.

    Squares are added in float64. In float32 the last bit of the norm depends on how the parameters
    are divided among processes.

    Args:
        module: with the same gradients in all processes, or each with its share of them.
        limit: largest norm.
        sharded: whether each process has a share.

    Returns:
        Norm, float32 [].
    """
    own = [own_share(one.grad) for one in module.parameters() if one.grad is not None]
    norms = [torch.linalg.vector_norm(one, dtype=torch.float64) for one in own]
    total = torch.stack(norms).square().sum()
    if sharded:
        dist.all_reduce(total)
    norm = total.sqrt().float()
    torch._foreach_mul_(own, (limit / (norm + 1e-6)).clamp(max=1.0))
    return norm


def whole_tensor(value: Tensor) -> Tensor:
    """Return a tensor gathered from all processes; one that is not sharded is returned itself."""
    gather = getattr(value, "full_tensor", None)
    return value if gather is None else gather()


def own_share(value: Tensor) -> Tensor:
    """Return this process's share of a tensor; one that is not sharded is returned itself."""
    local = getattr(value, "to_local", None)
    return value if local is None else local()

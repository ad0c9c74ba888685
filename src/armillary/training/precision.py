"""Precision: bfloat16 products in training where the processor has them, float32 elsewhere."""

from __future__ import annotations

from pathlib import Path

import torch

_CPU_FLAGS = ("amx_bf16", "avx512_bf16")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 matrix products run in hardware on this device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return False
    flags = next((line for line in info.read_text().splitlines() if line[:5] == "flags"), "")
    return any(flag in flags.split() for flag in _CPU_FLAGS)


def training_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type of a run's matrix products.

    Args:
        precision: ``auto``, ``bfloat16`` or ``float32``.
        device: where it computes.
    """
    if precision == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[precision]

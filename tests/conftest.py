"""Settings of all tests."""

import torch
from hypothesis import settings

# Machines are shared: how long one example takes says nothing about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


def _settle_arithmetic() -> None:
    """Let torch choose its kernels now: MKL and oneDNN read their settings at their first product.

    Some tests set those settings for a while; had the first product come then, it would have
    stayed so in this process, and no child of it would have agreed to the last bit.
    """
    some = torch.ones(32, 32)
    torch.nn.functional.linear(some, some)
    torch.nn.functional.linear(some.bfloat16(), some.bfloat16())
    torch.nn.functional.conv2d(some[None, None], some[None, None, :3, :3])
    torch.linalg.eigh(some)


_settle_arithmetic()

"""Clean streams: what a clip was before its colours were changed or its depth was worsened.

The model sees the changed clip, and a target made of its pictures is taken from the clean one: what
is asked for then does not depend on the change, so the latent need not tell it. Mirrors, shifts and
changed worlds are no such changes: targets follow them.

Source: a student that sees a changed picture and a teacher that sees the plain one, as in
noisy-student training (1911.04252).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from armillary.core.values import Batch

_CLEAN = "clean_"


def with_clean(streams: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the streams with one of them, if it is there, kept as it is beside them."""
    if name not in streams:
        return dict(streams)
    return {**streams, clean_name(name): streams[name]}


def clean_name(name: str) -> str:
    """Return the name under which a stream is kept as it was."""
    return _CLEAN + name


def clean(batch: Batch, name: str) -> Tensor:
    """Return a stream as it was before it was changed or worsened."""
    return batch.streams.get(clean_name(name), batch.streams[name])

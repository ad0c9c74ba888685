"""EncodedPicture: a picture as a sensor sent it, on its way to the one pinhole of its camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from armillary.data.resize import Size
from armillary.data.sources.lens import Lens, Rectifier
from armillary.data.sources.recording import Picture
from armillary.data.stills import Still, StillForm


@runtime_checkable
class Lensed(Protocol):
    """What knows the lens of pictures of a size: one ``Lens``, or a camera's several."""

    def at(self, size: Size, where: str) -> Lens:
        """Return the lens in the pixels of a picture of a size."""
        ...


@dataclass(frozen=True)
class EncodedPicture:
    """A picture that was not decoded yet.

    Attributes:
        decode: returns rgb uint8 [H W 3] or depth uint16 millimetres [H W].
        where: file or topic, for sentences.
        data: the file, where it may be kept.
        form: how that is encoded; None where it may not be kept.
    """

    decode: Callable[[], np.ndarray]
    where: str
    data: bytes = b""
    form: StillForm | None = None

    def through(self, lens: Lensed, rectify: Rectifier) -> Picture:
        """Return it as the pinhole would have seen it: a still if it is that already.

        Raises:
            FormatError: it cannot be decoded, or its lens is of another picture.
        """
        if self.form is not None:
            size = self.form.rows, self.form.columns
            if rectify.leaves(lens.at(size, self.where), size):
                return Still(self.data, self.form, self.decode)
        image = self.decode()
        own = lens.at((image.shape[0], image.shape[1]), self.where)
        return rectify(image, own, average=image.ndim == 3)  # of depth, the nearest

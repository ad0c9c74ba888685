"""Names of trunks as a model keeps them, ``NAME@sha256:HEX``: other weights are noticed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from armillary.core.errors import ConfigError

FEATURES = "trunk_features"  # the stream of what a trunk made of pictures: float16 [F P K]
_AT = "@sha256:"
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Pin:
    """A trunk's name and which weights it had.

    Attributes:
        name: of a trunk, a folder of ``transformers``, or a repository on the Hub.
        sha256: of its weights; empty until they were read.
    """

    name: str
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.name}{_AT}{self.sha256}" if self.sha256 else self.name


def pinned(text: str) -> Pin:
    """Return the name and digest in what a model keeps.

    Args:
        text: ``NAME`` or ``NAME@sha256:HEX``.

    Raises:
        ConfigError: there is no name, or the digest is none.
    """
    name, at, sha256 = text.rpartition(_AT) if _AT in text else (text, "", "")
    if not name or (at and not _HEX.fullmatch(sha256)):
        raise ConfigError(
            f"model.trunk must be NAME or NAME{_AT} and 64 hexadecimal digits, got {text!r}."
        )
    return Pin(name, sha256)

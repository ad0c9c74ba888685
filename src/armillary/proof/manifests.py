"""Manifests of strangers: the list of episodes of an evaluation, read strictly."""

from __future__ import annotations

from pathlib import Path

from armillary.core.errors import FormatError
from armillary.evaluation import Manifest, load_manifest
from armillary.proof.canonical import Limits, parse_json, read_bytes

_LIMITS = Limits(bytes=64 << 20, depth=16, values=5_000_000)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest that may be a stranger's.

    A number that JSON has not would break its hash; a key that stands twice says two things.

    Raises:
        FormatError: not a manifest, a link, larger than is read, or not JSON as it is wanted here.
    """
    parse_json(read_bytes(path, _LIMITS.bytes), str(path), _LIMITS)
    found = load_manifest(path)
    try:
        found.sha256  # noqa: B018  (what it is made of may be of another kind)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{path}: not a manifest ({error}).") from error
    return found

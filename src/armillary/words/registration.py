"""Registration: what is compared, and by how much, fixed in a file before anything is judged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from armillary.core.errors import FormatError
from armillary.core.files import read_json
from armillary.core.hashing import file_sha256

_PRIMARY = {"measure", "variants", "horizon", "margin_cm"}


_NOTHING = {"measure": "state_error_cm", "variants": ["W", "T-probe"], "horizon": 4}


def registration(path: Path | None) -> dict[str, Any]:
    """Return the registration and the digest of its file; of no file, what is compared without one.

    Raises:
        FormatError: it lacks its primary measure.
    """
    if path is None:
        return {"primary": {**_NOTHING, "margin_cm": 0.0}, "sha256": ""}
    value = read_json(path)
    primary = value.get("primary") if isinstance(value, Mapping) else None
    if not isinstance(primary, Mapping) or not {*primary} >= _PRIMARY:
        raise FormatError(
            f"{path}: a registration needs primary with {', '.join(sorted(_PRIMARY))}."
        )
    return {**value, "sha256": file_sha256(path)}

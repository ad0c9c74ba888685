"""Claiming: a folder belongs to the settings that it was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from armillary.core.errors import ConfigError
from armillary.core.files import read_json, storage_errors, write_json
from armillary.core.hashing import json_sha256


def claim(file: Path, settings: Any, what: str, made: bool = False) -> None:
    """Refuse the folder of a file that was made with other settings; else note these in the file.

    Args:
        file: holds the hash of the settings.
        settings: JSON values.
        what: the folder holds, for the sentence.
        made: there is something in the folder already, which without the file belongs to nobody.

    Raises:
        ConfigError: the folder was made with other settings, or nobody knows with which.
        StorageError: it cannot be written.
    """
    key = json_sha256(settings)
    if (read_json(file) != key) if file.is_file() else made:
        raise ConfigError(
            f"{file.parent}: contains {what} with other settings; choose another --out."
        )
    with storage_errors(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, key)

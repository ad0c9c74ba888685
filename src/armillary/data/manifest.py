"""Manifest: the hash of every file of a dataset, grouped by episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from armillary.core.errors import DatasetError, FormatError
from armillary.core.files import read_json
from armillary.data import layout
from armillary.data.finalize import MANIFEST_FORMAT


def read_manifest(path: Path) -> dict[int, dict[str, str]]:
    """Return the hashes of each episode's files, by episode, and of shared files at -1.

    Raises:
        DatasetError: the manifest is missing, damaged, or names files outside the dataset.
    """
    try:
        manifest: Any = read_json(path / layout.MANIFEST)
        episodes = {int(part["episode"]): dict(part["files"]) for part in manifest["episodes"]}
        groups = {**episodes, -1: dict(manifest["shared"])}
        good = manifest["format"] == MANIFEST_FORMAT
    except (FormatError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path}: its manifest {layout.MANIFEST} is damaged.") from error
    names = [name for files in groups.values() for name in files]
    if not good or not all(isinstance(n, str) and layout.is_inside(n) for n in names):
        raise DatasetError(f"{path}: its manifest {layout.MANIFEST} is not one of armillary's.")
    return groups

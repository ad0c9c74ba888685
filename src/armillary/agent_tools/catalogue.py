"""Catalogue: the models and datasets that were named; nothing else can be asked for.

A tool takes their names and never a path. Nothing heavy is imported here, so that a wrong command
line is answered at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from armillary.core.errors import ConfigError

_NAMED = re.compile(r"([\w.-]{1,64})=(.+)", re.DOTALL)
_MOST = 32


@dataclass(frozen=True)
class Catalogue:
    """What may be asked about.

    Attributes:
        models: folder of each model, or of its run, by name.
        datasets: folder of each dataset by name.
    """

    models: Mapping[str, Path]
    datasets: Mapping[str, Path]

    @property
    def folders(self) -> list[tuple[str, Path]]:
        """Every name with its folder; a model and a dataset may have one name."""
        return [*self.models.items(), *self.datasets.items()]

    @classmethod
    def of(
        cls, models: Sequence[str], datasets: Sequence[str], folder: Path | None = None
    ) -> Catalogue:
        """Return the catalogue of two lists of folders, each ``PATH`` or ``NAME=PATH``.

        Args:
            models: model folders or run folders.
            datasets: dataset folders.
            folder: where relative paths begin, and which none may leave; None for the current
                folder, which may be left.

        Raises:
            ConfigError: no or too many folders, one that is not there or lies outside ``folder``,
                or two of one name.
        """
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{folder}: there is no such folder; --folder names an existing one.")
        return cls(
            _entries(models, "model", folder, ("config.json", "model/config.json")),
            _entries(datasets, "dataset", folder, ("meta/info.json",)),
        )


def _entries(
    words: Sequence[str], kind: str, folder: Path | None, marks: Sequence[str]
) -> dict[str, Path]:
    if not 1 <= len(words) <= _MOST:
        raise ConfigError(f"Name 1 to {_MOST} {kind}s; got {len(words)}.")
    found: dict[str, Path] = {}
    for word in words:
        # a folder may have an equals sign in its own name
        match = None if (folder or Path()).joinpath(word).is_dir() else _NAMED.fullmatch(word)
        given = Path(match.group(2) if match else word)
        path = _placed(given, kind, folder)
        if not any((path / mark).is_file() for mark in marks):
            raise ConfigError(f"{path}: is no {kind} folder; it has no {marks[0]}.")
        own = given.name if given.name not in ("", "..") else path.name  # of a link, its own
        name = match.group(1) if match else own
        if name in found:
            raise ConfigError(
                f"Two {kind}s are called {name!r}: {found[name]} and {path}. Give one another name "
                f"with NAME=PATH, e.g. {name}_2={path}."
            )
        found[name] = path
    return found


def _placed(path: Path, kind: str, folder: Path | None) -> Path:
    """Return where a folder is, links followed."""
    whole = (path if folder is None else folder / path).resolve()
    if folder is not None and not whole.is_relative_to(folder.resolve()):
        raise ConfigError(f"{path}: lies outside --folder {folder}, which no {kind} may leave.")
    if not whole.is_dir():
        raise ConfigError(f"{path}: there is no such folder; a {kind} folder was expected.")
    return whole

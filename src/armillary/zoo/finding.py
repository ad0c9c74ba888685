"""Finding: the model folder for a path, a model of the zoo, or a Hub id."""

from __future__ import annotations

import os
import re
from pathlib import Path

from armillary.core.errors import CheckpointError
from armillary.models import JEPA, load_model
from armillary.models.goal_policy_file import POLICY_FILE
from armillary.zoo import PREFIX, zoo_folder

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = (
    "config.json",
    "model.safetensors",
    "normalizer.safetensors",
    POLICY_FILE,
    "README.md",
)


def loaded(model: str | os.PathLike[str] | JEPA) -> JEPA:
    """Return the model itself: read from where ``find_model`` finds it, or as it was given.

    Raises:
        CheckpointError: no model is there, or it cannot be read safely and completely.
    """
    return model if isinstance(model, JEPA) else load_model(find_model(model))


def find_model(name: str | os.PathLike[str]) -> Path:
    """Return the model folder of a folder, a run folder, ``zoo:NAME``, or a Hub repository id.

    From the Hub only the files of a model folder are fetched. ``HF_HUB_OFFLINE=1`` is honoured.

    Raises:
        CheckpointError: there is no such folder, and the Hub has no such repository or is not
            to be reached; or a file of the zoo is damaged.
        ConfigError: the zoo has no such model.
    """
    if str(name).startswith(PREFIX):
        return zoo_folder(str(name)) / "model"
    path = Path(name)
    if (path / "config.json").is_file():
        return path
    if (path / "model" / "config.json").is_file():
        return path / "model"
    if path.exists():
        raise CheckpointError(
            f"{name}: a model folder (config.json and model.safetensors) or a run folder was "
            "expected. Train one with: armillary train RECIPE --data DATASET --out RUN"
        )
    if not _HUB_ID.fullmatch(str(name)):
        raise CheckpointError(
            f"{name}: there is no folder {name} here; a model folder, a run folder or a Hub id "
            "(owner/name) was expected."
        )
    return _from_hub(str(name))


def _from_hub(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(repository, allow_patterns=list(_FILES)))
    except (RepositoryNotFoundError, HFValidationError) as error:
        why = f"the Hub has no repository {repository}"
        raise _not_found(repository, why) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        offline = os.environ.get("HF_HUB_OFFLINE")
        why = "HF_HUB_OFFLINE forbids asking the Hub" if offline else "the Hub cannot be reached"
        raise _not_found(repository, why) from error


def _not_found(repository: str, why: str) -> CheckpointError:
    return CheckpointError(f"{repository}: there is no folder {repository} here, and {why}.")

"""Uploading: a model folder as a repository of the Hugging Face Hub, its own files alone."""

from __future__ import annotations

from pathlib import Path

from armillary.core.errors import ConfigError, StorageError
from armillary.models import load_model
from armillary.models.goal_policy_file import POLICY_FILE, load_goal_policy
from armillary.zoo.finding import _FILES, _HUB_ID

_TOKENS = "https://huggingface.co/settings/tokens"


def upload_model(folder: Path, repo_id: str, private: bool, message: str) -> str:
    """Upload a model folder in one commit; the repository is made where there is none.

    The model is loaded first, which refuses a folder with a pickle. A goal policy of an earlier
    upload leaves the repository with the weights that it belongs to.

    Args:
        folder: a model folder.
        repo_id: ``owner/name``.
        private: whether a new repository is private; one that exists stays as it is.
        message: of the commit.

    Returns:
        The address of the repository.

    Raises:
        CheckpointError: not a complete model.
        ConfigError: the name is none of a repository, or there is no token.
        StorageError: the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not _HUB_ID.fullmatch(repo_id):
        raise ConfigError(f"A repository of the Hub is named owner/name; got {repo_id!r}.")
    load_goal_policy(folder, load_model(folder))
    if get_token() is None:
        raise ConfigError(
            f"The Hub needs a token that may write. Make one at {_TOKENS}, and give it with: hf "
            "auth login (or the environment variable HF_TOKEN)."
        )
    names = [name for name in _FILES if (folder / name).is_file()]
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(name, str(folder / name)) for name in names
    ]
    api = HfApi()
    try:
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        if POLICY_FILE not in names and POLICY_FILE in api.list_repo_files(repo_id):
            operations.append(CommitOperationDelete(POLICY_FILE))
        api.create_commit(repo_id, operations, commit_message=message)
    except HFValidationError as error:
        raise ConfigError(f"{repo_id}: is no name of a repository ({_line(error)}).") from error
    except HfHubHTTPError as error:
        raise StorageError(f"{repo_id}: the Hub refused the upload ({_line(error)}).") from error
    # without a network it is an error of the HTTP library, which differs between versions of the
    # Hub's package; its HfHubHTTPError is derived from the family of them
    except (OSError, *HfHubHTTPError.__bases__) as error:
        raise StorageError(
            f"{repo_id}: the Hub cannot be reached ({_line(error)}). Nothing was uploaded."
        ) from error
    return str(address)


def _line(error: BaseException) -> str:
    """Return the first line of what an error says, without its full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")

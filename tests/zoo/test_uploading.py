"""A model goes to the Hub with its own files alone, and comes back as the same model."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import Mock

import huggingface_hub
import pytest
import torch
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

import armillary as arm
from armillary.core.errors import CheckpointError, ConfigError, StorageError
from armillary.models import EncoderConfig, JEPAConfig, save_model, untrained
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import POLICY_FILE, load_goal_policy, save_goal_policy

MODEL_FILES = {"config.json", "model.safetensors", "normalizer.safetensors", "README.md"}
NAME = "user/name"


class Hub:
    """A Hub that keeps repositories in a folder; it stands in for ``HfApi`` and for downloads."""

    def __init__(self, root: Path) -> None:
        self.root, self.private, self.messages = root, {}, []
        self.error: Exception | None = None

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        if self.error is not None:
            raise self.error
        assert exist_ok
        self.private.setdefault(repo_id, private)
        (self.root / repo_id).mkdir(parents=True, exist_ok=True)
        return f"https://huggingface.co/{repo_id}"

    def list_repo_files(self, repo_id: str) -> list[str]:
        folder = self.root / repo_id
        return [one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()]

    def create_commit(self, repo_id: str, operations: list, *, commit_message: str) -> None:
        self.messages.append(commit_message)
        for one in operations:
            place = self.root / repo_id / one.path_in_repo
            if isinstance(one, CommitOperationAdd):
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(one.path_or_fileobj, place)
            else:
                place.unlink()

    def snapshot_download(self, repo_id: str, allow_patterns: list[str]) -> str:
        return str(self.root / repo_id)

    def files(self) -> set[str]:
        return set(self.list_repo_files(NAME))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    return made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a model, its goal policy, and what else a run leaves behind."""
    folder = tmp_path / "run"
    encoder = EncoderConfig(image_size=16, width=16)
    config = JEPAConfig(encoder=encoder, action_width=2, sensors=("rgb",))
    save_model(untrained(config, 0), folder / "model")
    policy = untrained_goal_policy(GoalPolicyConfig(config.latent_width, 2, hidden=16, layers=1), 0)
    save_goal_policy(policy, folder / "model")
    (folder / "log.jsonl").write_text("{}\n")
    (folder / "model" / "notes.txt").write_text("a secret")
    (folder / "model" / "policy" / "training.json").write_text("{}")
    return folder


def test_a_model_is_uploaded_and_loaded_again_with_its_own_files_alone(
    hub: Hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = arm.push_to_hub(run, NAME, private=True, commit_message="First.")
    assert address == f"https://huggingface.co/{NAME}"
    assert hub.files() == {*MODEL_FILES, POLICY_FILE}
    assert (hub.private, hub.messages) == ({NAME: True}, ["First."])
    monkeypatch.chdir(tmp_path)  # where no folder has this name
    ours, theirs = arm.load_model(run), arm.load_model(NAME)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(theirs.state_dict()[name], value, rtol=0, atol=0)
    assert load_goal_policy(hub.root / NAME, theirs) is not None


def test_a_model_without_a_policy_removes_that_of_other_weights(hub: Hub, run: Path) -> None:
    arm.push_to_hub(run, NAME)
    (hub.root / NAME / "LICENSE").write_text("somebody else's file stays")
    arm.push_to_hub(arm.load_model(run), NAME)
    assert hub.files() == {*MODEL_FILES, "LICENSE"}
    assert hub.private == {NAME: False}


def test_a_folder_that_is_no_complete_model_is_not_uploaded(hub: Hub, run: Path) -> None:
    folder = run / "model"
    with pytest.raises(CheckpointError, match="no folder"):
        arm.push_to_hub(run / "nothing" / "here", NAME)
    (folder / "weights.pt").write_bytes(b"a pickle")
    with pytest.raises(CheckpointError, match="pickle"):
        arm.push_to_hub(run, NAME)
    (folder / "weights.pt").unlink()
    save_model(untrained(arm.load_model(run).config, 1), run / "other")
    shutil.copyfile(run / "other" / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="was trained for another model"):
        arm.push_to_hub(run, NAME)
    (folder / "normalizer.safetensors").unlink()
    with pytest.raises(CheckpointError, match="incomplete"):
        arm.push_to_hub(run, NAME)
    assert not hub.root.exists()


@pytest.mark.parametrize("name", ["name", "a/b/c", "user/", "/name", "us er/name", ""])
def test_a_name_is_an_owner_and_a_name(name: str, hub: Hub, run: Path) -> None:
    with pytest.raises(ConfigError, match="named owner/name"):
        arm.push_to_hub(run, name)
    assert not hub.root.exists()


def test_without_a_token_nobody_is_asked(
    hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    hub.error = AssertionError("the Hub was asked")
    with pytest.raises(ConfigError, match=r"needs a token that may write.*hf auth login"):
        arm.push_to_hub(run, NAME)


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            HfHubHTTPError("403 Forbidden: not your namespace.\n\nMore.", response=Mock()),
            StorageError,
            r"user/name: the Hub refused the upload \(403 Forbidden: not your namespace\)\.$",
        ),
        (
            OfflineModeIsEnabled("Offline mode is enabled."),
            StorageError,
            r"user/name: the Hub cannot be reached \(Offline mode is enabled\)\. Nothing was",
        ),
        (HFValidationError("Cannot have -- in it"), ConfigError, "is no name of a repository"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    error: Exception, kind: type, sentence: str, hub: Hub, run: Path
) -> None:
    hub.error = error
    with pytest.raises(kind, match=sentence):
        arm.push_to_hub(run, NAME)


def test_without_a_network_it_is_one_sentence(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the real client, and an address where nobody listens
    client = huggingface_hub.HfApi(endpoint="http://127.0.0.1:9", token="hf_token")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: client)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
    with pytest.raises(StorageError, match="user/name: the Hub cannot be reached"):
        arm.push_to_hub(run, NAME)

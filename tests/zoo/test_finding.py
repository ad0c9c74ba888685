"""Finding: a folder, a run folder or a Hub id; a sentence where there is none."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from armillary.core.errors import CheckpointError
from armillary.zoo.finding import find_model


def test_a_run_folder_is_its_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert find_model(tmp_path) == find_model(str(tmp_path / "model")) == tmp_path / "model"


@pytest.mark.parametrize(
    ("error", "offline", "said"),
    [
        (
            RepositoryNotFoundError("401", response=Mock()),
            "",
            "no/such: there is no folder no/such here, and the Hub has no repository no/such.",
        ),
        (
            LocalEntryNotFoundError("no connection"),
            "",
            "no/such: there is no folder no/such here, and the Hub cannot be reached.",
        ),
        (
            LocalEntryNotFoundError("offline"),
            "1",
            "no/such: there is no folder no/such here, and HF_HUB_OFFLINE forbids asking the Hub.",
        ),
    ],
)
def test_an_unknown_hub_id(error, offline, said, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", raises)
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    with pytest.raises(CheckpointError) as found:
        find_model("no/such")
    assert str(found.value) == said


def test_a_name_that_can_be_no_hub_id_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Mock(side_effect=AssertionError("the Hub was asked"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)
    with pytest.raises(CheckpointError, match="there is no folder out/run/model here; a model"):
        find_model("out/run/model")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a run folder was expected\. Train one with"):
        find_model(tmp_path)

"""Nothing but the named folders can be asked about, and a wrong command line is one sentence."""

from __future__ import annotations

import sys

import pytest

from armillary.agent_tools.catalogue import Catalogue
from armillary.agent_tools.library import Library
from armillary.agent_tools.worker import without_paths
from armillary.cli.main import main
from armillary.core.errors import ConfigError
from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.config import EncoderConfig


def test_folders_are_called_by_their_names_or_by_given_ones(base, folder, data):
    found = Catalogue.of(["small", f"big={folder}"], ["rooms"], base)
    assert found.models == {"small": folder, "big": folder}
    assert found.datasets == {"rooms": data.path}


def test_a_folder_with_an_equals_sign_is_a_folder(tmp_path, folder, data):
    (tmp_path / "lr=1").symlink_to(folder)
    found = Catalogue.of([str(tmp_path / "lr=1")], [str(data.path)])
    assert found.models == {"lr=1": folder}


@pytest.mark.parametrize(
    ("models", "datasets", "said"),
    [
        (["nothere"], ["rooms"], "there is no such folder; a model folder was expected"),
        (["small"], ["nothere"], "there is no such folder; a dataset folder was expected"),
        (["rooms"], ["rooms"], "is no model folder; it has no config.json"),
        (["small"], ["small"], "is no dataset folder; it has no meta/info.json"),
        (["small", "small"], ["rooms"], "Two models are called 'small'"),
        (["small"], ["rooms", "rooms"], "Two datasets are called 'rooms'"),
        ([], ["rooms"], "Name 1 to 32 models; got 0"),
        (["../../x"], ["rooms"], "lies outside --folder"),
        (["small"], ["/etc"], "lies outside --folder"),
    ],
)
def test_what_cannot_be_named_is_refused(base, folder, data, models, datasets, said):
    with pytest.raises(ConfigError, match=said):
        Catalogue.of(models, datasets, base)


def test_a_link_does_not_lead_out_of_the_folder(base, folder, data, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ConfigError, match="lies outside --folder"):
        Catalogue.of(["link"], [str(data.path)], tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sensors": ("rgb", "depth")}, "the data lack depth_m"),
        ({"action_width": 3}, "takes 3 action numbers a model step, and the dataset 'rooms' has 2"),
    ],
)
def test_a_dataset_that_a_model_cannot_see_is_refused(base, folder, data, tmp_path, settings, said):
    encoder = EncoderConfig(image_size=16, width=16)
    config = JEPAConfig(**{"encoder": encoder, "sensors": ("rgb",), **settings})
    save_model(untrained(config, 0), tmp_path / "other")
    with pytest.raises(
        ConfigError, match=r"The model 'other' fits nothing that was named: .*"
    ) as e:
        Library(Catalogue.of([str(tmp_path / "other")], [str(data.path)]))
    assert said in str(e.value)


def test_a_pair_that_does_not_fit_is_refused_when_it_is_asked_for(folder, data):
    library = Library(Catalogue.of([str(folder)], [str(data.path)]))
    library.misfits["small", "rooms"] = "It lacks depth."
    with pytest.raises(ConfigError, match=r"cannot see the dataset 'rooms': It lacks depth\."):
        library.pair("small", "rooms")


def test_sentences_for_a_client_hold_no_path(base, folder, data):
    names = [("small", folder), ("rooms", data.path)]
    said = f"{data.path}/data/x.parquet: is damaged, see {folder}: and /root/.cache/a_b-c/d.npy."
    assert without_paths(said, names) == "rooms: is damaged, see small: and (a file)"
    assert without_paths(f"{folder}2/x is another", names) == "(a file) is another"
    assert without_paths("0.2 m/s and 3/4 of it.", names) == "0.2 m/s and 3/4 of it."


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["{model}", "--data", "nothere"], 2, "error: nothere: there is no such folder"),
        (["{model}", "--data", "{data}", "--json"], 2, "error: stdout belongs to the protocol"),
        (["{model}", "--data", "{data}", "--time-limit", "0"], 2, "error: --time-limit must be"),
        (["{model}", "--data", "{data}", "--folder", "nothere"], 2, "error: nothere: there is no"),
    ],
)
def test_wrong_command_lines_are_one_sentence(folder, data, capsys, words, code, said):
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    filled = [word.format(model=folder, data=data.path) for word in words]
    assert main(["mcp", *filled]) == code
    err = capsys.readouterr().err
    assert err.startswith(said) and err.count("\n") == 1


def test_a_missing_package_is_named(folder, data, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    assert main(["mcp", str(folder), "--data", str(data.path)]) == 3
    assert "pip install 'armillary[mcp]'" in capsys.readouterr().err

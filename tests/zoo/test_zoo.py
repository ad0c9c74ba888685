"""The zoo gives the models that it names, and nothing else under their names."""

import shutil

import pytest

from armillary.cli.main import main
from armillary.core.errors import CheckpointError, ConfigError
from armillary.models import load_model
from armillary.models.goal_policy_file import load_goal_policy
from armillary.play import own_recording
from armillary.play.opening import open_recording, open_world
from armillary.worlds import WORLDS
from armillary.zoo import zoo_folder, zoo_model, zoo_names
from armillary.zoo.finding import find_model
from armillary.zoo.index import INDEX, ROOT

MOST_BYTES = 7 << 20  # of one model: they travel with every copy of the package


def test_the_asked_models_are_there():
    assert {"tabletop", "push_t", "rooms", "flies"} <= {*zoo_names()}


@pytest.mark.parametrize("name", zoo_names())
def test_a_model_of_the_zoo_loads_and_is_what_its_index_says(name):
    known, folder = zoo_model(name), find_model(f"zoo:{name}")
    model = load_model(folder)
    acts = load_goal_policy(folder, model) is not None
    assert acts == bool(known.world) == bool(model.config.action_width)
    there = {path for path in (ROOT / name).rglob("*") if path.is_file()}
    assert {ROOT / name / file for file in known.files} == there
    assert sum((ROOT / name / file).stat().st_size for file in known.files) < MOST_BYTES
    assert known.licence and known.command and len(known.commit) == 40


@pytest.mark.parametrize("name", zoo_names())
def test_the_card_says_what_the_index_says(name, capsys):
    known = zoo_model(name)
    assert main(["zoo", name]) == 0
    said = capsys.readouterr().out
    for words in (known.about, known.data, known.licence, known.command, known.commit[:10]):
        assert words in said.replace("\n", " ")
    if known.world:
        rows = known.numbers["rows"]
        assert rows["model"]["n"] >= 100
        for row in rows.values():
            assert f"{row['success']:.1%}" in said
    else:
        assert all(str(row["read"]) in said for row in known.numbers["errors"].values())


def test_the_list_names_all(capsys):
    assert main(["zoo"]) == 0
    said = capsys.readouterr().out
    assert all(f"zoo:{name}" in said for name in zoo_names())


def test_a_changed_file_is_refused(tmp_path):
    for name in ("whole", "changed", "missing"):
        root = tmp_path / name
        shutil.copytree(ROOT / "tabletop", root / "tabletop")
        shutil.copyfile(ROOT / INDEX, root / INDEX)
    assert zoo_folder("zoo:tabletop", tmp_path / "whole") == tmp_path / "whole" / "tabletop"
    weights = tmp_path / "changed" / "tabletop" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    (tmp_path / "missing" / "tabletop" / "model" / "config.json").unlink()
    with pytest.raises(CheckpointError, match="is not the file that the zoo's index names"):
        zoo_folder("tabletop", tmp_path / "changed")
    with pytest.raises(CheckpointError, match=r"config\.json: is missing"):
        zoo_folder("tabletop", tmp_path / "missing")


@pytest.mark.parametrize("name", ["zoo:", "zoo:tabletopp", "zoo:../tabletop"])
def test_an_unknown_name_is_one_sentence(name):
    with pytest.raises(ConfigError, match="There is no model of the zoo called"):
        find_model(name)


@pytest.mark.runs  # a model is read and acts: 5 s
@pytest.mark.parametrize("name", zoo_names())
def test_each_can_be_played_where_its_world_is_installed(name):
    recording = own_recording(f"zoo:{name}")
    if recording is not None:
        session = open_recording(f"zoo:{name}", recording).session()
    elif zoo_model(name).world in WORLDS:
        session = open_world(f"zoo:{name}").session()
    else:
        pytest.skip("its world is in a package of others, which this environment need not have")
    assert session.begin(0)
    session.close()

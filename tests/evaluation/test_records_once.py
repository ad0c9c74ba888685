"""An episode counts once, however often its record stands in a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from armillary.cli.main import main
from armillary.core.errors import ConfigError, FormatError
from armillary.evaluation import NoOpSpec, evaluate, make_manifest, read_records
from armillary.evaluation.records import append_record
from armillary.evaluation.records_once import mend, read_once
from armillary.services.rerun_view import check_module


@pytest.fixture
def file(tmp_path: Path) -> Path:
    manifest = make_manifest("two_rooms", None, 2, 0, {"image_size": 16}, budget=2)
    evaluate(manifest, NoOpSpec(), out=tmp_path / "a.jsonl")
    return tmp_path / "a.jsonl"


def test_a_record_that_stands_there_twice_is_mended(file):
    before, records = file.read_bytes(), read_records(file)
    append_record(file, records[0])
    assert read_once(file) == records
    mend(file)
    assert file.read_bytes() == before


def test_two_outcomes_of_one_episode_are_refused(file):
    first = read_records(file)[0]
    append_record(file, replace(first, outcome="success", distances=(0.0,) * 3))
    with pytest.raises(FormatError, match="stands there twice, with two outcomes"):
        mend(file)


def test_a_file_that_is_not_there_needs_no_mending(tmp_path):
    mend(tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize(
    ("world", "settings"),
    [("gym:strange:World-v0", {}), ("perturbed", {"base": "gym:strange:World-v0"})],
)
def test_a_manifest_imports_only_what_was_allowed(world, settings):
    manifest = replace(make_manifest("two_rooms", None, 1, 0), world=world, settings=settings)
    with pytest.raises(ConfigError, match="--module strange"):
        check_module(manifest)
    check_module(manifest, "strange")
    check_module(replace(manifest, world="gym:World-v0", settings={}))


def test_a_module_is_for_rerun_alone(tmp_path, capsys):
    assert main(["view", str(tmp_path), "--module", "strange"]) == 2
    assert "need --rerun FILE" in capsys.readouterr().err

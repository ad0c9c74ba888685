"""Wrong usage: one sentence, exit code 2; right usage: help with an example, exit code 0."""

from __future__ import annotations

import json

import pytest

from armillary import __version__
from armillary.cli.main import COMMANDS, main

LEAVES = [
    ["demo"],
    ["record"],
    ["ingest"],
    ["data", "show"],
    ["data", "verify"],
    ["train"],
    ["prior"],
    ["diagnose"],
    ["probe"],
    ["surprise"],
    ["act"],
    ["understand"],
    ["guard"],
    ["view"],
    ["bench", "loader"],
    ["bench", "train"],
    ["bench", "plan"],
    ["bench", "latency"],
    ["bench", "peers"],
    ["bench", "two-rooms"],
    ["bench", "push"],
    ["bench", "ablation"],
    ["bench", "spatial"],
    *(["bench", name] for name in ("keygen", "pack", "commit", "nonce", "reveal", "run", "score")),
    *(["bench", name] for name in ("ledger", "submit", "verify", "audit", "challenge", "attack")),
    ["bench", "leaderboard"],
    ["bench", "sensors"],
    ["bench", "training"],
]


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_has_help_with_an_example_and_json(words: list[str], capsys) -> None:
    assert main([*words, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"e.g. armillary {' '.join(words)}" in said
    assert "--json" in said


def test_the_table_of_contents_names_every_command(capsys) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"• {name}" in said for name in COMMANDS)
    assert {words[0] for words in LEAVES} == set(COMMANDS)


def test_the_fields_of_a_recipe_are_flags(capsys) -> None:
    assert main(["train", "tabletop", "--help"]) == 0
    said = capsys.readouterr().out
    assert "--optimizer.lr FLOAT" in said
    assert "--model.encoder.width INT" in said


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"armillary {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recrod"], "There is no command called 'recrod'. Did you mean 'record'?"),
        (["record", "tabletop"], "armillary record needs --out."),
        (["train"], "armillary train needs RECIPE and --data and --out."),
        (
            ["record", "tabletop", "--out", "x", "--epsiodes", "3"],
            "unrecognized options: --epsiodes, 3. Did you mean --episodes?",
        ),
        (["record", "tabletop", "--out", "x", "--episodes", "many"], "error parsing --episodes"),
        (["data", "shwo", "x"], "unrecognized options: shwo, x."),
        (["train", "tablteop"], "There is no recipe called 'tablteop'. Did you mean 'tabletop'?"),
        (
            ["train", "tabletop", "--data", "x", "--out", "y", "--optimizer.lrr", "1"],
            "unrecognized options: --optimizer.lrr, 1. Did you mean --optimizer.lr?",
        ),
        (
            ["train", "tabletop", "--data", "x", "--out", "y", "--optimizer.lr", "-1"],
            "optimizer.lr and clip_norm must be above 0",
        ),
        (["train", "tabletop", "--data", "x"], "armillary train tabletop needs --out."),
        (["bench"], "expected one of {loader, train,"),
        ([], "expected one of {demo, record,"),
    ],
)
def test_wrong_usage_is_one_sentence(words: list[str], said: str, capsys) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--self-test --out x", "--out means nothing with --self-test"),
        ("--self-test --make-set", "--make-set means nothing with --self-test"),
        ("--make-set --concepts shape", "--concepts means nothing with --make-set"),
        ("--ask-people --count 5", "--count means nothing with --ask-people"),
        ("m --ask-people", "MODELS means nothing with --ask-people"),
        ("m --suite grasp --data d --fresh 5", "--fresh means nothing with --suite grasp"),
        ("m --suite grasp --data d --concepts x", "--concepts means nothing with --suite grasp"),
        ("m --data d", "--data means nothing for the quadruplets"),
        ("m --workers 3", "--workers means nothing for the quadruplets"),
        ("{} --fresh 5", "--fresh means nothing for a model that was trained elsewhere"),
        ("{} --controls 0", "--controls means nothing for a model that was trained elsewhere"),
    ],
)
def test_understand_refuses_what_means_nothing(words: str, said: str, tmp_path, capsys) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vjepa2"}')
    assert main(["understand", *words.format(tmp_path).split()]) == 2
    assert capsys.readouterr().err == f"error: {said}; leave it out.\n"


def test_under_json_the_error_is_the_object(capsys) -> None:
    assert main(["record", "tabletop", "--json"]) == 2
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["exit_code"] == 2
    assert err == f"error: {found['error']}\n"

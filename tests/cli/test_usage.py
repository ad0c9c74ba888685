"""Wrong usage: one sentence, exit code 2; right usage: help with an example, exit code 0."""

from __future__ import annotations

import json

import pytest

from armillary import __version__
from armillary.cli.main import COMMANDS, main, read, subcommands
from armillary.cli.proof import Proof

LEAVES = [
    ["demo"],
    ["record"],
    ["ingest"],
    ["data", "show"],
    ["data", "verify"],
    ["train"],
    ["sweep"],
    ["launch"],
    ["policy"],
    ["landmarks"],
    ["diagnose"],
    ["probe"],
    ["surprise"],
    ["act"],
    ["plan"],
    ["play"],
    ["serve"],
    ["ros"],
    ["mcp"],
    ["zoo"],
    ["export"],
    ["understand"],
    ["guard"],
    ["compare", "words"],
    ["compare", "ask"],
    ["view"],
    ["bench", "loader"],
    ["bench", "train"],
    ["bench", "plan"],
    ["bench", "latency"],
    ["bench", "ablation"],
    ["bench", "spatial"],
    ["bench", "lidar"],
    ["bench", "worlds"],
    ["bench", "sensors"],
    *(["proof", name] for name in subcommands(Proof)),
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
    assert main(["train", "world", "--help"]) == 0
    said = capsys.readouterr().out
    assert "--optimizer.lr FLOAT" in said
    assert "--model.encoder.width INT" in said


def test_flags_that_were_renamed_work_and_name_the_new_flag(capsys) -> None:
    given = ["train", "world", "--data", "x", "--out", "y", "--settling.batch_size=3"]
    assert read([*given, "--settling.steps", "7"]).config.settling.steps == 7
    answers = capsys.readouterr().err.splitlines()
    assert answers == [
        "--settling.batch_size is now called --finetune.batch_size.",
        "--settling.steps is now called --finetune.steps.",
    ]
    assert main(["bench", "spatial", "--arms_only", "--arms", "a", "--sedes", "3"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "--arms_only is now called --variants-only.",
        "--arms is now called --variants.",
        "error: There is no option --sedes. Did you mean --seeds? See: "
        "armillary bench spatial --help",
    ]
    assert read(["bench", "latency", "m", "w", "--beside", "n", "o"]).others == ("n", "o")
    assert "--beside is now called --others." in capsys.readouterr().err


def test_commands_of_proof_work_under_bench_and_name_the_new_command(capsys) -> None:
    assert read(["bench", "verify", "x"]) == read(["proof", "verify", "x"])
    assert capsys.readouterr().err == "bench verify is now called proof verify.\n"
    assert main(["bench", "nonce", "--help"]) == 0
    printed = capsys.readouterr()
    assert "usage: armillary proof nonce" in printed.out
    assert "bench nonce is now called proof nonce." in printed.err


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
            "There is no option --epsiodes. Did you mean --episodes? See: armillary record --help",
        ),
        (
            ["record", "tabletop", "--out", "x", "--episodes", "many"],
            "--episodes takes a whole number; got 'many'.",
        ),
        (["record", "tabletop", "--out", "x", "--episodes"], "--episodes needs a value."),
        (["record", "tabletop", "--out", "x", "3"], "'3' was not expected."),
        (["record", "tabletop", "--out", "x", "--seed", "-1"], "--seed takes a whole number, 0"),
        (
            ["record", "tabletop", "--out", "x", "--workers", "0"],
            "--workers takes a whole number, 1",
        ),
        (["bench", "spatial", "--seeds", "0", "-3"], "--seeds takes whole numbers, 0 or more"),
        (["ingest", "v", "--out", "x", "--fps", "ten"], "--fps takes a number; got 'ten'."),
        (["ingest", "v", "--out", "x", "--fps", "nan"], "--fps takes a number; got 'nan'."),
        (
            ["ingest", "v", "--out", "x", "--intrinsics", "1", "2"],
            "--intrinsics takes FLOAT FLOAT FLOAT FLOAT; got '1', '2'.",
        ),
        (
            ["ingest", "v", "--out", "x", "--pictures", "keep"],
            "--pictures takes 'kept' or 'encoded'; got 'keep'.",
        ),
        (["bench", "latency", "m", "w", "--samples", "a"], "--samples cannot read ['a']."),
        (["data", "shwo", "x"], "There is no data command called 'shwo'. Did you mean 'show'?"),
        (
            ["train", "tabletop"],
            "There is no recipe called 'tabletop'; use world, which trains on any recording.",
        ),
        (
            ["train", "world", "--data", "x", "--out", "y", "--optimizer.lrr", "1"],
            "There is no option --optimizer.lrr. Did you mean --optimizer.lr?",
        ),
        (
            ["train", "world", "--data", "x", "--out", "y", "--optimizer.lr", "-1"],
            "optimizer.lr and clip_norm must be above 0",
        ),
        (["train", "world", "--data", "x"], "armillary train world needs --out."),
        (["launch"], "armillary launch needs CLUSTER and --time."),
        (["launch", "slurm"], "armillary launch needs two dashes and the command after them, e.g."),
        (["launch", "slurm", "--", "train"], "armillary launch needs --time."),
        (["launch", "slrum", "--time", "9", "--", "train"], "cluster takes 'slurm'; got 'slrum'."),
        (
            ["launch", "slurm", "--time", "9", "--", "act", "m", "w"],
            "armillary launch takes train alone, which goes on after an interruption with the same",
        ),
        (
            ["launch", "slurm", "--time", "9", "--nodes", "0", "--", "train", "world"],
            "--nodes must be at least 1, got 0.",
        ),
        (["mcp", "x"], "armillary mcp needs --data."),
        (["bench"], "A command is missing; there are loader, train,"),
        (
            ["proof", "verfy", "x"],
            "There is no proof command called 'verfy'. Did you mean 'verify'?",
        ),
        ([], "A command is missing; there are demo, record,"),
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
        ("--self-test --out x", "--out has no effect with --self-test"),
        ("--self-test --make-set", "--make-set has no effect with --self-test"),
        ("--make-set --concepts shape", "--concepts has no effect with --make-set"),
        ("--ask-people --count 5", "--count has no effect with --ask-people"),
        ("m --ask-people", "MODELS has no effect with --ask-people"),
        ("m --suite grasp --data d --fresh 5", "--fresh has no effect with --suite grasp"),
        ("m --suite grasp --data d --concepts x", "--concepts has no effect with --suite grasp"),
        ("m --data d", "--data has no effect for the quadruplets"),
        ("m --workers 3", "--workers has no effect for the quadruplets"),
        ("{} --fresh 5", "--fresh has no effect for a model that was trained elsewhere"),
        ("{} --controls 0", "--controls has no effect for a model that was trained elsewhere"),
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

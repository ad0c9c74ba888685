"""Plan as a command: a value, a region or a picture is the goal, and wrong words get a sentence."""

import json

import pytest
from test_diagnose import dataset, model

from armillary.cli.main import main


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    return str(model(folder / "model")), str(dataset(folder / "data", 8)), folder


def plan(made, *words):
    return main(["plan", made[0], made[1], "--plan", "samples=16", "--plan", "length=4", *words])


def test_a_value_is_planned_to_and_written(made, capsys):
    out = made[2] / "plan.json"
    assert plan(made, "--goal", "thing_xy=6,6..9", "--episode", "-1", "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "4 actions" in said and "Nothing was executed." in said
    assert "thing_xy=6,6..9: ends" in said and f"Written to {out}." in said
    value = json.loads(out.read_text())
    assert len(value["actions"]) == 4 and len(value["actions"][0]) == 2
    assert len(value["distances"]) == 5
    found = value["values"]["thing_xy"]
    assert len(found["predicted"]) == len(found["outside"]) == 4
    x, y = found["predicted"][-1]
    apart = ((x - 6) ** 2 + max(6 - y, y - 9, 0) ** 2) ** 0.5
    assert found["outside"][-1] == pytest.approx(apart, rel=1e-4)


def test_a_later_picture_is_a_goal_alone_or_beside_a_value(made, capsys):
    assert plan(made, "--goal-step", "12", "--json") == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone["values"] == {} and alone["goal_step"] == 12
    assert plan(made, "--goal-step", "12", "--goal", "thing_xy=6,any", "--json") == 0
    both = json.loads(capsys.readouterr().out)
    assert both["distances"][0] == pytest.approx(alone["distances"][0])
    assert both["cost"] >= alone["cost"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "A plan needs a goal: --goal NAME=VALUE, --goal-step STEP, or both."),
        (("--goal", "thing_xy=6"), "thing_xy has 2 values, and the goal thing_xy=6 gives 1."),
        (("--goal", "thing=6"), "no truth stream called 'thing'. Did you mean 'thing_xy'?"),
        (("--goal", "thing_xy=6,b"), "A value of a goal is a number, LOW..HIGH or any; got 'b'"),
        (("--goal", "thing_xy=6,any", "--goal", "thing_xy=any,7"), "--goal takes each name once"),
        (("--goal-step", "2", "--plan", "seed=3"), "no setting of the icem planner called 'seed'"),
        (("--goal-step", "99"), "There is no step 99; the episode has 20"),
        (("--goal-step", "1", "--episode", "99"), "there is no episode 99; it has 8"),
    ],
)
def test_what_cannot_be_gets_a_sentence(words, said, made, capsys):
    assert plan(made, *words) == 2
    assert said in capsys.readouterr().err

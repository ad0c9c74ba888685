"""``view`` shows what lies in a folder, leaves it as it was, and refuses what it cannot show."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from armillary.cli.main import main
from armillary.core.errors import ConfigError, FormatError
from armillary.data import DatasetWriter, open_dataset, verify
from armillary.data.check import counting_episodes
from armillary.evaluation import (
    EpisodeSpec,
    Manifest,
    Record,
    load_manifest,
    read_records,
    write_records,
)
from armillary.report.marks import interval_strip
from armillary.report.words import write_value
from armillary.services.view.folder import view
from armillary.services.view.records import records_page


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("view") / "counting"
    writer = DatasetWriter(path, 20)
    for index, episode in enumerate(counting_episodes()):
        writer.write(index, episode)
    writer.finalize()
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    model = {"sensors": ["rgb"], "encoder": {"tokens": 4, "width": 32}, "action_width": 2}
    train = {"steps": 300, "batch_size": 32, "clip_length": 6}
    path = tmp_path / "run"
    path.mkdir()
    (path / "run.json").write_text(json.dumps({"model": model, "train": train}))
    lines = []
    for step in (100, 200):
        entry = {"step": step, "train/loss": 50 / step, "train/rollout": 1 / step}
        entry |= {"train/grad_norm": 1.0, "latent/effective_rank": 1.5}
        lines += [entry | {"warnings": [f"collapsed at {step}"]}, {"step": step, "eval/rollout": 1}]
    (path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"st')
    return path


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Four episodes: the model ends at 0.01, 0.02, 0.05 and 0.2 m, the random policy at 0.2 m."""
    ids = [f"reach-{k}" for k in range(4)]
    specs = tuple(EpisodeSpec(name, k, k) for k, name in enumerate(ids))
    manifest = Manifest("tabletop", "reach", specs, 2, 0.03, "m")
    path = tmp_path / "act"
    manifest.save(path / "manifest.json")
    for policy, ends in (("model", (0.01, 0.02, 0.05, 0.2)), ("random", (0.2,) * 4)):
        records = [
            Record(
                id=name,
                seed=k,
                goal_seed=k,
                manifest=manifest.sha256,
                policy=policy,
                privileged=False,
                outcome="success" if end <= 0.03 else "failure",
                error="",
                success_distance=0.03,
                distances=(0.3, 0.25, end),
                actions=((0.0,), (0.0,)),
                decisions=(),
            )
            for k, (name, end) in enumerate(zip(ids, ends, strict=True))
        ]
        write_records(path / "records" / f"{policy}.jsonl", records)
    return path


def text_of(page: Path) -> str:
    html = page.read_text()
    assert html.count("<script") == 1  # player.js
    html = re.sub(r"<script>.*</script>", "", html, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!data:image/png|#)', html)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_dataset_is_shown_and_left_as_it_is(dataset: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in dataset.rglob("*")}
    found = view(dataset)
    assert found.page == dataset.parent / "counting-view.html"
    assert {file: file.stat().st_mtime_ns for file in dataset.rglob("*")} == before
    assert verify(dataset).ok
    assert "31" in found.facts["steps"]
    assert found.page.read_text().count("<img") == 32  # 16 pictures and their depths
    assert "3 episodes, 31 steps" in text_of(found.page)
    with pytest.raises(ConfigError, match="is inside the dataset"):
        view(dataset, dataset / "view.html")


def test_chosen_frames_are_those_of_the_whole_episode(dataset: Path) -> None:
    opened = open_dataset(dataset)
    for name in ("rgb", "depth"):
        whole = list(opened.frames(1, name))
        some = list(opened.frames(1, name, [0, 4, 11]))
        assert all(np.array_equal(a, whole[k]) for a, k in zip(some, (0, 4, 11), strict=True))


def test_a_run_is_shown_with_its_warnings(run: Path) -> None:
    found = view(run)
    assert found.page == run / "view.html"
    said = text_of(found.page)
    assert "200 of 300 updates" in said
    assert "collapsed at 200" in said
    assert "collapsed at 100" not in said
    assert "in 2 of 2 log entries, last at update 200" in said
    assert found.facts["last loss"] == "0.25"
    assert found.facts["model"].startswith("none yet")
    for title in ("Loss, weighted", "Loss terms on held-out", "Effective rank of the latent"):
        assert title in said


def test_lines_of_a_log_that_no_chart_can_hold_are_passed_over(run: Path) -> None:
    endless = b"1" + 400 * b"0"
    log = run / "log.jsonl"
    whole = log.read_bytes().removesuffix(b'{"st')
    for line in (
        b"\xff\xfe\x80",
        b'{"step": %s}' % endless,
        b'{"step": 300, "train/loss": "\xe9"}',
    ):
        whole += line + b"\n"
    log.write_bytes(whole + b'{"step": 250, "train/loss": %s}\n' % endless)
    found = view(run)
    assert "250 of 300 updates" in text_of(found.page)
    assert found.facts["last loss"] == "0.25"


def test_rows_of_an_evaluation_come_from_its_records(evaluation: Path) -> None:
    page = view(evaluation).page
    assert page == evaluation / "view.html"
    said = text_of(page)
    assert "50.0 %" in said
    assert "15.0 to 85.0 %" in said  # Wilson, 2 of 4
    assert "success minus that of random, percentage points n = 4" in said
    assert "Success over threshold" in said
    assert "within 0.03 m of the goal" in said
    assert 'role="note"' not in page.read_text()


def test_distances_and_differences_are_on_no_scale_of_success(evaluation: Path) -> None:
    file = evaluation / "manifest.json"
    replace(load_manifest(file), distance_unit="rad").save(file)
    rows = {row.name: row for group in records_page(evaluation).results for row in group.rows}
    for name, said in (
        ("distance left at the end, median, rad", "0.035"),
        ("success minus that of random, percentage points", "50.0"),
    ):
        assert write_value(rows[name].value, rows[name].form) == said
        assert interval_strip(rows[name]) == ""
    assert interval_strip(rows["at the goal when the episode ended"]) != ""


def test_the_time_of_a_decision_is_shown_though_nothing_was_predicted(evaluation: Path) -> None:
    assert "time per decision" not in text_of(view(evaluation).page)  # nothing was timed
    for policy in ("model", "random"):
        file = evaluation / "records" / f"{policy}.jsonl"
        timed = [replace(one, ms_per_decision=(2.0, 4.0)) for one in read_records(file)]
        write_records(file, timed)
    said = text_of(view(evaluation).page)
    assert "time per decision, median" in said
    assert said.count("Nothing is predicted; 95 % within") == 1  # the model's, not that of random


def test_an_unfinished_or_foreign_evaluation_is_warned_of(evaluation: Path) -> None:
    file = evaluation / "records" / "random.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]) + '{"bo')
    page = view(evaluation).page
    assert "Not all of 4 episodes have run yet: random." in text_of(page)
    assert "success minus that of" not in text_of(page)
    (evaluation / "manifest.json").unlink()
    assert "There is no manifest.json" in text_of(view(evaluation).page)


def test_a_changed_record_is_refused(evaluation: Path) -> None:
    file = evaluation / "records" / "model.jsonl"
    file.write_text(file.read_text().replace("0.25", "0.02"))
    with pytest.raises(FormatError, match="was changed after it was written"):
        view(evaluation)
    assert not (evaluation / "view.html").exists()


def test_names_from_outside_are_text(run: Path) -> None:
    settings = json.loads((run / "run.json").read_text())
    settings["model"]["sensors"] = ["<script>alert(1)</script>"]
    (run / "run.json").write_text(json.dumps(settings))
    assert "&lt;script&gt;" in view(run).page.read_text()


def test_the_command(capsys, dataset: Path, run: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    assert main(["view", str(dataset), "--out", str(page), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["page"]) == ("dataset", str(page))
    assert page.is_file()
    (tmp_path / "empty").mkdir()
    (run / "log.jsonl").write_text("")
    wrong = {
        tmp_path / "none": "there is no such folder",
        tmp_path / "empty": "contains no dataset (meta/info.json), no training run",
        tmp_path: "Its folders with something to view: run.",
        run: "has not logged anything yet",
    }
    for path, sentence in wrong.items():
        assert main(["view", str(path)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert sentence in err
        assert err.count("\n") == 1


def test_an_oracle_alone_is_its_own_subject(evaluation: Path) -> None:
    (evaluation / "records" / "model.jsonl").unlink()
    assert "random" in text_of(view(evaluation).page)


def test_records_of_another_manifest_are_named(evaluation: Path) -> None:
    manifest = Manifest("tabletop", "push", (EpisodeSpec("push-0", 1, 1),), 2, 0.03, "m")
    replace(manifest, budget=3).save(evaluation / "manifest.json")
    assert "belong to another manifest: model, random" in text_of(view(evaluation).page)


def test_a_dataset_without_a_colour_camera_called_rgb_shows_what_it_has(tmp_path: Path) -> None:
    for name, without in (("depth", ("rgb",)), ("nothing", ("rgb", "depth", "segmentation"))):
        writer = DatasetWriter(tmp_path / name, 20)
        writer.write(0, counting_episodes(without)[0])
        writer.finalize()
    shown = view(tmp_path / "depth", tmp_path / "depth.html").page.read_text()
    assert shown.count('alt="Depth of picture') == 9
    assert 'alt="Picture' not in shown
    assert (
        'id="recorded"'
        not in view(tmp_path / "nothing", tmp_path / "nothing.html").page.read_text()
    )

"""Actors of Ray are asked what one process is, one of them dies, and the answers are the same."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from armillary.core.errors import ShapeError, StorageError, WorldError
from armillary.understanding.suites import ask_on_ray as asking_on_ray
from armillary.understanding.suites.ask_on_ray import ask_on_ray
from armillary.understanding.suites.quadruplets import Suite, ask
from armillary.understanding.suites.quadruplets.asking import read_labels, read_said
from armillary.understanding.suites.quadruplets.judges import Frames, Panel, Pans, Surprise

pytestmark = pytest.mark.runs  # Ray's own processes: 10 s each

SUITES = {
    "test": Suite(1, 17, ("colour", "spatial")),  # three blocks, the last of 2 quadruplets
    "twins": Suite(1, 2, ("colour",), visible=True),
}


def mixing(frames: Frames, pans: Pans) -> dict[str, Surprise]:
    """Judge a clip by the next one of its block, as a foreign context does."""
    own = frames.astype(np.float32).mean((2, 3, 4))
    moves = np.abs(np.roll(pans, 1, 0)).sum(2)
    return {"one": np.diff(own, axis=1) / 3, "two": np.roll(own, 1, 0)[:, 1:] + moves}


def panel() -> Panel:
    return mixing


def dying(folder: Path) -> Panel:
    """Make a panel whose process dies at its second block; the first one alone that gets there."""
    blocks = iter(range(100))

    def judge(frames: Frames, pans: Pans) -> dict[str, Surprise]:
        if next(blocks) == 1 and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return mixing(frames, pans)

    return judge


def refusing() -> Panel:
    raise ShapeError("This model sees no pictures.")


def narrow() -> Panel:
    return lambda frames, pans: {"one": np.zeros((len(frames), 3), np.float32)}


def answers(folder: Path) -> dict[str, list[object]]:
    """Return label and answer of each clip, in the order of the files; ids are drawn anew."""
    found = {}
    for name in SUITES:
        labels = read_labels(folder / f"{name}.labels.json")
        said = read_said(folder / f"{name}.jsonl")
        found[name] = [
            (judge, labels[clip], values.tobytes())
            for judge, clips in said.items()
            for clip, values in clips.items()
        ]
        assert [*labels] == [*said["one"]]
    return found


@pytest.mark.parametrize("order", [1, -1])
def test_the_answers_are_those_of_one_process_in_any_order(order, tmp_path, monkeypatch) -> None:
    def run(address, opener, tasks, workers):
        assert (address, workers) == ("head:6379", 3)
        judge = opener()
        yield from [judge(task) for task in tasks][::order]

    monkeypatch.setattr(asking_on_ray, "run_on_ray", run)
    told: list[tuple[int, int]] = []
    labels = ask_on_ray(
        SUITES,
        panel,
        tmp_path / "ray",
        "head:6379",
        3,
        lambda done, total, _: told.append((done, total)),
    )
    assert told[-1] == (144, 144) and len(told) == 4
    for name in SUITES:
        assert labels[name] == read_labels(tmp_path / "ray" / f"{name}.labels.json")
    ask(SUITES, panel, tmp_path / "one")
    assert answers(tmp_path / "ray") == answers(tmp_path / "one")


def test_clips_are_drawn_when_an_actor_is_free(tmp_path, monkeypatch) -> None:
    drawn: list[int] = []
    block = Suite.block
    monkeypatch.setattr(Suite, "block", lambda *some: drawn.append(1) or block(*some))

    def run(address, opener, tasks, workers):
        judge = opener()
        for number, task in enumerate(tasks, 1):
            assert len(drawn) == number
            assert len(task.packed) < 0.1 * task.frames.nbytes
            yield judge(task)

    monkeypatch.setattr(asking_on_ray, "run_on_ray", run)
    ask_on_ray(SUITES, panel, tmp_path)


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        ask_on_ray(SUITES, panel, tmp_path / "file")


@pytest.mark.runs  # Ray takes seconds to start
@pytest.mark.filterwarnings("ignore")
class TestRealRay:
    def test_what_a_dead_actor_had_is_asked_again(self, local_ray, tmp_path) -> None:
        ask(SUITES, panel, tmp_path / "one")
        ask_on_ray(SUITES, functools.partial(dying, tmp_path), tmp_path / "ray")
        assert (tmp_path / "died").exists()
        assert answers(tmp_path / "ray") == answers(tmp_path / "one")

    @pytest.mark.slow  # actors of Ray take seconds to start
    def test_a_panel_that_cannot_be_made_says_why(self, local_ray, tmp_path) -> None:
        with pytest.raises(ShapeError, match=r"^This model sees no pictures\.$"):
            ask_on_ray(SUITES, refusing, tmp_path)

    @pytest.mark.slow  # actors of Ray take seconds to start
    def test_a_panel_that_breaks_says_why(self, local_ray, tmp_path) -> None:
        with pytest.raises(
            WorldError, match=r"one gave \(64, 3\) numbers where \(64, 31\) are due"
        ):
            ask_on_ray(SUITES, narrow, tmp_path)

"""Shortcuts cannot pass, an oracle always does, and who has learned the set by heart is found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from armillary.core.errors import ConfigError, FormatError, WorldError
from armillary.core.statistics import wilson_interval
from armillary.understanding.suites.quadruplets import (
    CONCEPTS,
    CONTROLS,
    Judges,
    Suite,
    ask,
    concept_rows,
    gap,
    headline_concepts,
    make_quadruplet,
    read_labels,
    read_said,
    score,
    self_test,
)
from armillary.understanding.suites.quadruplets.judges import CopyLast
from armillary.understanding.suites.quadruplets.quadruplet import CELLS
from armillary.understanding.suites.quadruplets.scoring import chance_p, double_difference
from armillary.understanding.suites.quadruplets.single import best_threshold
from armillary.understanding.suites.rare import RARE, rare_scene
from armillary.worlds.stage import paint

FEW = Suite(seed=5, count=3, concepts=("colour", "gravity", "spatial"))


def controls():
    return Judges(CONTROLS)


@dataclass(frozen=True)
class Broken:
    at_once: bool = False

    def __call__(self):
        if self.at_once:
            raise RuntimeError("no weights here")
        return lambda frames, pans: {"one": np.zeros((len(frames), 3), np.float32)}


def said_of(suite, judge):
    """Judge a suite in this process: surprise and labels by id."""
    said, labels = {}, {}
    for clips, known in suite.blocks():
        frames = np.stack([clip.frames for clip in clips])
        pans = np.stack([clip.pans for clip in clips])
        found = judge.surprise(frames, pans)
        said |= {clip.id: row for clip, row in zip(clips, found, strict=True)}
        labels |= {clip.id: label for clip, label in zip(clips, known, strict=True)}
    return said, labels


@pytest.mark.slow  # 20 s
def test_the_self_test_holds_and_names_every_flaw():
    found = self_test()
    broken = {name: one["detail"] for name, one in found.items() if not one["ok"]}
    assert not broken
    assert sum(name.startswith("flaw_") for name in found) >= 12


@pytest.mark.parametrize("concept", CONCEPTS)
def test_a_quadruplet_repeats_from_its_names_alone(concept):
    one, again = (make_quadruplet(concept, 7, 3) for _ in range(2))
    other = make_quadruplet(concept, 7, 4)
    np.testing.assert_array_equal(one.frames, again.frames)
    assert not np.array_equal(one.frames, other.frames)


@pytest.mark.parametrize("concept", ["colour", "continuity_lane"])
def test_the_visible_twin_shows_what_was_hidden(concept):
    made, twin = (make_quadruplet(concept, 2, 3, visible) for visible in (False, True))
    assert made.event == twin.event
    for one, wanted in ((made, 0.5), (twin, 1.0)):
        said = {c: CopyLast().surprise(one.frames[c][None], one.pans[c][None])[0] for c in CELLS}
        assert double_difference(said) == wanted, "only without a screen can a copy see the change"


@pytest.mark.parametrize(("concept", "solved"), [("colour", True), ("inertia", False)])
def test_colour_needs_a_memory_and_no_order_of_it(concept: str, solved: bool):
    """What was seen in any order tells a colour, and not where something is going."""
    judge, rights, rng = CONTROLS["palette"], [], np.random.default_rng(0)
    for index in range(6):
        made = make_quadruplet(concept, index, seed=5)
        said = {c: judge.surprise(made.frames[c][None], made.pans[c][None])[0] for c in CELLS}
        rights.append(double_difference(said))
        # the event is as surprising after any order of the steps before it
        clip = made.frames[0, 1].copy()
        clip[: made.event] = clip[rng.permutation(made.event)]
        shuffled = judge.surprise(clip[None], made.pans[0, 1][None])[0]
        assert shuffled[made.event - 1] == said[0, 1][made.event - 1]
    assert (np.mean(rights) == 1) == solved


@pytest.mark.runs  # a process starts: 6 s
def test_labels_stay_with_the_one_who_asks(tmp_path: Path):
    labels = ask({"said": FEW}, controls, tmp_path)["said"]
    text = (tmp_path / "said.jsonl").read_text()
    assert not any(concept in text for concept in CONCEPTS)
    said = read_said(tmp_path / "said.jsonl")
    assert said.keys() == CONTROLS.keys()
    assert read_labels(tmp_path / "said.labels.json") == labels
    assert all(found.keys() == labels.keys() for found in said.values())
    alone, again = said_of(FEW, CopyLast())
    assert set(again.values()) == set(labels.values()) and not again.keys() & labels.keys()
    by_label = {label: alone[name] for name, label in again.items()}
    for name, values in said["copy_last_pixels"].items():
        np.testing.assert_array_equal(by_label[labels[name]], values)


@pytest.mark.runs  # processes start three times: 13 s
def test_a_judge_that_breaks_is_one_sentence(tmp_path: Path):
    with pytest.raises(WorldError, match="The judge broke: ValueError: one gave"):
        ask({"said": FEW}, Broken(), tmp_path)
    with pytest.raises(WorldError, match="The judge broke: RuntimeError: no weights here"):
        ask({"said": FEW}, Broken(at_once=True), tmp_path)
    with pytest.raises(ConfigError, match="a function of a module, not a lambda"):
        ask({"said": FEW}, lambda: None, tmp_path)


def test_clips_that_were_not_judged_are_missed():
    said, labels = said_of(FEW, CopyLast())
    said.pop(next(iter(said)))
    with pytest.raises(FormatError, match="1 of 36 clips have no surprise"):
        score(said, labels)


def test_the_rule_is_the_formula():
    rng = np.random.default_rng(0)
    for _ in range(20):
        cells = {cell: rng.random(31).astype(np.float32) for cell in CELLS}
        mean = {cell: values.astype(float).mean() for cell, values in cells.items()}
        d = mean[0, 1] + mean[1, 0] - mean[0, 0] - mean[1, 1]
        assert double_difference(cells) == float(d > 0)


def test_statistics_agree_with_known_values():
    assert wilson_interval(90.0, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert chance_p(np.array([1.0, 0, 1, 0, 0.5])) == pytest.approx(1.0)
    # ties say nothing: twelve wins and no loss are no chance
    assert chance_p(np.array([1.0] * 12 + [0.5] * 88)) == pytest.approx(2 / 2**12)
    assert best_threshold(np.array([1.0, 2, 3, 4]), np.array([False, False, True, True])) == 2.5


@dataclass
class Memory:
    """Knows the pictures of possible clips by heart, and nothing else."""

    known: set[bytes] = field(default_factory=set)

    def learn(self, suite):
        for clips, labels in suite.blocks():
            for clip, label in zip(clips, labels, strict=True):
                self.known |= {self.key(clip.frames, clip.pans)} if label.possible else set()
        return self

    @staticmethod
    def key(frames, pans):
        return frames.tobytes() + pans.tobytes()

    def surprise(self, frames, pans):
        unknown = [self.key(f, p) not in self.known for f, p in zip(frames, pans, strict=True)]
        return np.repeat(np.array(unknown, np.float32)[:, None], frames.shape[1] - 1, 1)


def test_who_has_learned_the_test_by_heart_is_exposed_by_fresh_questions():
    test, fresh = replace(FEW, count=12), replace(FEW, count=12, seed=99)
    judge = Memory().learn(test)
    found = {name: score(*said_of(suite, judge)) for name, suite in (("t", test), ("f", fresh))}
    assert all(one.d_accuracy == 100 for one in found["t"].values())
    assert gap(found["f"], found["t"])["suspicious"]
    assert not gap(found["t"], found["t"])["suspicious"]


def test_a_concept_that_a_shortcut_solves_leaves_the_headline():
    suite = Suite(seed=5, count=24, concepts=("colour", "permanence_static"))
    copy = score(*said_of(suite, CopyLast()))
    right = score(*said_of(suite, Memory().learn(suite)))
    assert headline_concepts({"copy_last": copy}) == {"colour": True, "permanence_static": False}
    assert not any(headline_concepts({"motion_energy": right}).values())
    rows = concept_rows(right, copy, {"colour": True, "permanence_static": False})
    assert rows["colour"]["gain_over_copy"] == 50 and rows["colour"]["p_holm"] < 0.01


def test_wrong_suites_are_one_sentence():
    with pytest.raises(ConfigError, match="Did you mean 'colour'"):
        Suite(0, concepts=("color",))
    with pytest.raises(ConfigError, match="at least 1 quadruplet"):
        Suite(0, count=0)


@pytest.mark.parametrize("kind", RARE)
def test_rare_scenes_are_the_ordinary_ones_until_something_happens(kind):
    for index in range(4):
        ordinary, rare = (paint(rare_scene(name, index)) for name in ("ordinary", kind))
        differ = (ordinary != rare).any(axis=(1, 2, 3))
        assert differ.any() and np.flatnonzero(differ)[0] >= 13

"""What people read has the field's words: README, pages, unreleased changes, help of all commands.

The words that left are the left-hand column of a table (section 7 of the style page). There are two
kinds. OWN are words of this project's private language: no text has them. NAMES are ordinary
English words that had become names of options, files and functions: prose may have them, code may
not have them as a name. ALLOWED says what has such a word for another reason.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# What left, and what is said now.
OWN = {
    r"(?:un)?fores(?:ee\w*|aw|ight\w*)": "predict, predicted, prediction",
    r"came": "target; was, arrived, returned",
    r"told": "report, label; given, reported",
    r"said": "report, label; reported",
    r"settl\w*": "predictor fine-tuning",
    r"glimpse\w*|bird_?view\w*|picture_?view\w*": "left without a successor",
    r"other_?sight\w*": "cross_view",
    r"trails?|trip_?distance\w*": "hindsight samples; temporal distance",
    r"summed": "running cost; added up",
    r"consensus": "medoid state",
    r"(?:rew|w)atching|rewatch\w*": "prediction residuals, replayed residuals",
    r"lock-?step\w*": "batched episodes",
    r"senses|LOOSE": "sensor tokenizers, UNORDERED",
    r"peers?|peer_\w+": "baselines, environments",
    r"arms?": "variants",
    r"splic(?:e|es|ing)": "videomix",
    r"photos?|footage|likeness\w*": "posed images, comparable episode, perceptual hash",
    # a look is an observation, or an appearance; to look is a verb
    r"(?:a|an|the|that|this|one|two|three|four|several|many|last|next|new|other|usual|earlier|later"
    r"|same|all|more|each|these) looks?(?! (?:at|for|up|into|like)\b)": "observation; appearance",
    r"the stage(?:'s)?|the plays": "the occluder world; its scenarios",
}
NAMES = re.findall(
    r"\w+",
    """
    held hold together look looks seeing situation carry watching specs senses kept peers ground
    arms plays rolling known asking stamps seen photos claiming finding changing again book case
    players acts paper how beside place told said came
    """,
)
# `name`, --name, name=, name(), name.py
_AS_NAME = r"(?<=`){0}(?=`)|--{0}\b(?!-)|(?<![\w.-]){0}(?==|\(|\.py\b)"

# Text by the reason why it may stay.
ALLOWED = {
    r"import armillary as arm|\barm\.(?=[\w`])": "the short name of the module",
    r"robot(?:'s)? arms?|\bon the arm\b": "the arm of a robot",
    # files that a signed result pins by their hash: models, planning, control and worlds
    r"`models/senses\.py`|`LOOSE`": "names of the package models",
    r"`policy\.looks\(state\)`": "a method of a policy",
    r"one that came as it is": "the docstring of the settings of a model, which is help",
    r"nothing `kept`": "a field of a planner's state",
    r"`worlds/stage/plays\.py`|`PLAYS`": "names of the world stage",
    r"~/\.cache/armillary/peers": "a folder on people's disks",
    r"(?s:<!-- stored names -->.*<!-- /stored names -->)": "the table of names in stored files",
    r"`arms`": "a key of a stored record",
    r"said/\*\.jsonl": "files of a stored run",
    r"--settling\.slow-latent": "a flag of the commit that is named beside it",
}


def tool(name: str) -> ModuleType:
    """Load a script of tools/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def left_words(text: str) -> list[str]:
    """Return what of a text has words that left, each with its line."""
    for allowed in ALLOWED:
        text = re.sub(allowed, lambda found: re.sub(r"\S", "_", found.group()), text)
    wanted = [rf"\b(?:{'|'.join(OWN)})\b", *(_AS_NAME.format(name) for name in NAMES)]
    pattern = re.compile("|".join(wanted), re.IGNORECASE)
    return [
        f"{found.group()!r} in {line.strip()!r}"
        for line in text.splitlines()
        for found in pattern.finditer(line)
    ]


def unreleased() -> str:
    """Return the changes since the last release, without code: it has the names of before, too."""
    text = (ROOT / "CHANGELOG.md").read_text().partition("## [Unreleased]")[2]
    return re.sub(r"`[^`]*`", "`_`", re.split(r"^## \[", text, flags=re.MULTILINE)[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_no_word_that_left(page: Path) -> None:
    assert left_words(page.read_text()) == []


def test_the_unreleased_changes_have_no_word_that_left() -> None:
    text = unreleased()
    assert "### Added" in text
    assert left_words(text) == []


def test_the_help_of_no_command_has_a_word_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from armillary.cli.main import COMMANDS, subcommands

    monkeypatch.setenv("COLUMNS", "80")
    commands = [(), *((name,) for name in COMMANDS), ("train", "world")]
    for name, (kind, _) in COMMANDS.items():
        commands += [(name, below) for below in subcommands(kind)]
    help_of = tool("command_line").help_of
    assert len(commands) > 50
    found = {" ".join(one): left_words(help_of(" ".join(one))) for one in commands}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What was foreseen is unforeseen.", ["foreseen", "unforeseen"]),
        ("The predictor settles. Settling takes long.", ["settles", "Settling"]),
        ("The present is what the last looks say.", ["last looks"]),
        ("The last camera looks down; look at it.", []),
        ("`act --hold`, `hold=4`, `hold` and `held()`", ["--hold", "hold", "hold", "held"]),
        ("It holds. Episodes are held out with --held-out 0.2.", []),
        ("Six arms, see `arm.act` and import armillary as arm", ["arms"]),
        ("Files: `again.py`. Do it again, `--again`.", ["again", "--again"]),
        ("The stage's pictures, in the first stage.", ["The stage's"]),
    ],
)
def test_words_that_left_are_found_and_others_are_not(text: str, words: list[str]) -> None:
    assert [one.partition(" in ")[0].strip("'\"") for one in left_words(text)] == words


def test_every_reason_to_stay_is_needed() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    text += tool("command_line").help_of("train world")
    assert [allowed for allowed in ALLOWED if not re.search(allowed, text)] == []

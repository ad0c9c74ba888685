"""A release has one version, and CI runs what a person can run, with pinned actions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import armillary

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def test_the_version_has_one_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/armillary/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", armillary.__version__)


def test_the_citation_names_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    fields = dict(re.findall(r"^([\w-]+): *\"?([^\"\n]+)\"?$", text, re.MULTILINE))
    assert fields["version"] == armillary.__version__
    assert {"cff-version", "message", "title", "type", "license"} <= fields.keys()
    assert "authors:" in text


def test_lerobot_finds_the_plugin_by_its_name() -> None:
    """LeRobot skips a distribution whose name has hyphens, and imports it by that name."""
    folder = ROOT / "packages" / "lerobot_policy_armillary"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "lerobot_policy_armillary"
    assert (folder / "src" / project["name"] / "__init__.py").is_file()
    assert project["version"] == armillary.__version__


def test_the_changelog_has_a_section_to_release() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_workflow_runs_ci_with_pinned_actions_and_few_rights() -> None:
    text = WORKFLOW.read_text()
    used = re.findall(r"uses: (\S+)", text)
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", one) for one in used)
    assert "\npermissions:\n  contents: read\n" in text
    assert text.count("permissions:") == 1
    runs = re.findall(r"- run: (.+)", text)
    assert ".ci/run" in runs and "make test" in runs
    linux = text.partition("\n  linux:\n")[2].partition("\n  macos:\n")[0]
    assert "fetch-depth: 0" in linux  # else test_results.py skips the commits of the records
    assert "secrets." not in text and "pull_request_target" not in text

"""A Slurm that only writes down what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class FakeSlurm:
    """Scripts on the PATH that note their words, and say what a file beside them says."""

    folder: Path

    def says(self, command: str, text: str, code: int = 0) -> None:
        """Let a command print a text from now on, and leave with a code."""
        (self.folder / f"{command}.says").write_text(text)
        file = self.folder / command
        out = ">&2" if code else ""
        file.write_text(
            f'#!/bin/bash\nprintf "%s\\n" "$@" > "$0.words"\ncat "$0.says" {out}\nexit {code}\n'
        )
        file.chmod(0o755)

    def told(self, command: str) -> list[str]:
        """Return the words that a command got when it was called last; none if it never was."""
        words = self.folder / f"{command}.words"
        return words.read_text().splitlines() if words.is_file() else []


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    fake = FakeSlurm(folder)
    fake.says("sbatch", "7;here\n")
    fake.says("squeue", "")
    return fake

"""One uninterrupted run that others are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_run import run


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the uninterrupted run; do not change it."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run(out)
    return out

"""One uninterrupted run that others are compared with."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tiny_run import run


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the uninterrupted run; do not change it."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run(out)
    return out


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

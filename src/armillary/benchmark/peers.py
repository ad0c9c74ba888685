"""Peers: other packages, each installed in a virtual environment of its own, measured from there.

``peer_venv`` makes the environment on demand from pinned requirements; ``PeerProcess`` runs one of
our scripts with the peer's Python and talks to it in JSON lines, so that a peer stays warm between
its turns. Pip's own configuration holds (``PIP_EXTRA_INDEX_URL`` for a CPU build of torch, say).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from armillary.core.errors import CheckFailedError, MissingExtraError, unknown_name
from armillary.core.files import storage_errors

PEERS = {"stable-worldmodel": "stable-worldmodel.txt"}
ROOT_VARIABLE = "ARMILLARY_PEERS"
_MARKER = "armillary-requirements.txt"
_HERE = files("armillary.benchmark")


def peer_venv(name: str) -> Path:
    """Return the virtual environment of a peer, made now if it is not there or out of date.

    Args:
        name: a peer in ``PEERS``.

    Returns:
        Its folder, under ``$ARMILLARY_PEERS`` or ``~/.cache/armillary/peers``.

    Raises:
        ConfigError: there is no such peer.
        MissingExtraError: pip could not install it.
    """
    if name not in PEERS:
        raise unknown_name("peer", name, PEERS)
    root = Path(os.environ.get(ROOT_VARIABLE) or Path.home() / ".cache" / "armillary" / "peers")
    venv = root / name
    wanted = requirements(name)
    marker = venv / _MARKER
    if not (marker.is_file() and marker.read_text() == wanted):
        _install(name, venv, wanted)
    return venv


def requirements(name: str) -> str:
    """Return what a peer's environment is made of, as text for pip.

    Args:
        name: a peer in ``PEERS``.
    """
    return _HERE.joinpath("peer_requirements", PEERS[name]).read_text()


def _install(name: str, venv: Path, requirements: str) -> None:
    """Make or bring up to date; the marker is written last, so half an install counts as none."""
    with storage_errors(venv):
        venv.parent.mkdir(parents=True, exist_ok=True)
    if not _python(venv).exists():
        _run(name, [sys.executable, "-m", "venv", str(venv)])
    listed = venv / f"{_MARKER}.part"
    listed.write_text(requirements)
    options = ["--quiet", "--disable-pip-version-check", "-r", str(listed)]
    _run(name, [str(_python(venv)), "-m", "pip", "install", *options])
    listed.replace(venv / _MARKER)


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise MissingExtraError(
            f"{name} is needed to measure beside it and could not be installed ({said}). Check the "
            f"network or pip's index, or put an environment that has it at ${ROOT_VARIABLE}/{name}."
        )


def _python(venv: Path) -> Path:
    folder = "Scripts" if os.name == "nt" else "bin"
    return venv / folder / "python"


class PeerProcess:
    """One of our scripts, running in a peer's environment and answering requests.

    Args:
        peer: a peer in ``PEERS``.
        script: name of a file in ``benchmark/peer_scripts``.
        threads: threads that its numerical libraries may use.
    """

    def __init__(self, peer: str, script: str, threads: int) -> None:
        self.peer = peer
        self._stderr: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in close
        path = _HERE.joinpath("peer_scripts", script)
        self._process = subprocess.Popen(
            [str(peer_python(peer)), "-W", "ignore", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=peer_environment(threads),
        )

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises:
            CheckFailedError: the script ended instead of answering.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout
        try:
            stdin.write(json.dumps({"op": operation, **arguments}) + "\n")
            stdin.flush()
            answer = stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise CheckFailedError(
                f"{self.peer}: its measurement ended at {operation!r} ({self._last_words()})."
            )
        return json.loads(answer)

    def close(self) -> None:
        """End the script."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(OSError):  # a request that it never read is flushed once more
                    pipe.close()
        self._end(10)
        self._stderr.close()

    def _end(self, patience_s: float) -> None:
        try:
            self._process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        self._end(60)
        self._stderr.seek(0)
        lines = deque((line.strip() for line in self._stderr if line.strip()), maxlen=1)
        return lines[0] if lines else f"exit code {self._process.returncode}"


def peer_python(name: str) -> Path:
    """Return the Python of a peer's environment, made now as ``peer_venv`` does.

    Raises:
        ConfigError: there is no such peer.
        MissingExtraError: pip could not install it.
    """
    return _python(peer_venv(name))


def peer_environment(threads: int) -> dict[str, str]:
    """Return our environment variables without our import path, offline, for so many threads."""
    drop = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    numbers = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return kept | dict.fromkeys(numbers, str(threads)) | {"HF_HUB_OFFLINE": "1"}

"""Peers: an environment of their own, sentences when it fails, JSON lines when it works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from armillary.benchmark import PeerProcess, peer_venv
from armillary.benchmark.lewm import LeWM
from armillary.core.errors import CheckFailedError, ConfigError, MissingExtraError
from armillary.core.progress import silent

PEER = "stable-worldmodel"
AsPython = Callable[[str], Path]


def test_an_installed_peer_is_used_as_it_is(as_python: AsPython) -> None:
    venv = as_python("exit 1")
    assert peer_venv(PEER) == venv


def test_a_peer_that_cannot_be_installed_is_one_sentence(as_python: AsPython) -> None:
    venv = as_python("echo 'no route to host' >&2; exit 1")
    (venv / "armillary-requirements.txt").write_text("something older")
    with pytest.raises(MissingExtraError, match=r"stable-worldmodel.*no route to host") as caught:
        peer_venv(PEER)
    assert caught.value.exit_code == 3
    assert "ARMILLARY_PEERS" in str(caught.value)
    assert (venv / "armillary-requirements.txt").read_text() == "something older"


def test_an_update_is_marked_as_done_only_afterwards(as_python: AsPython) -> None:
    venv = as_python('echo "$@" > "$(dirname "$0")/../asked"')
    marker = venv / "armillary-requirements.txt"
    wanted = marker.read_text()
    marker.unlink()
    assert peer_venv(PEER) == venv
    assert marker.read_text() == wanted
    assert "pip install" in (venv / "asked").read_text()


def test_an_unknown_peer_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="stable-worldmodel"):
        peer_venv("stable-worldmodels")


def test_a_peer_answers_each_request(as_python: AsPython) -> None:
    as_python("""while read -r line; do echo "{\\"asked\\": $line}"; done""")
    with PeerProcess(PEER, "lewm_step.py", threads=1) as peer:
        for count in (1, 2):
            answer = peer.ask("steps", count=count)
            assert answer == {"asked": {"op": "steps", "count": count}}


def test_a_peer_that_dies_is_one_sentence_with_its_last_words(as_python: AsPython) -> None:
    as_python("read -r line; echo 'first' >&2; echo 'out of memory' >&2; exit 7")
    with (
        PeerProcess(PEER, "lewm_step.py", threads=1) as peer,
        pytest.raises(CheckFailedError, match=r"'steps' \(out of memory\)"),
    ):
        peer.ask("steps")


def test_a_peer_that_dies_between_two_requests_is_the_same_sentence(as_python: AsPython) -> None:
    as_python("read -r line; echo '{}'; echo 'out of memory' >&2; exit 7")
    with PeerProcess(PEER, "lewm_step.py", threads=1) as peer:
        assert peer.ask("build") == {}
        peer._process.wait()  # the next request finds nobody
        with pytest.raises(CheckFailedError, match=r"'steps' \(out of memory\)"):
            peer.ask("steps")


def test_lewm_is_measured_at_its_fastest_batch(as_python: AsPython) -> None:
    # seconds per step fall out of the batch: 16 windows are fastest per frame, 64 are never tried
    as_python("""
    while read -r line; do
      case "$line" in
        *'"batch": 8,'*) answer='{"frames": 32, "seconds": 2.0}' ;;
        *'"batch": 16,'*) answer='{"frames": 64, "seconds": 2.0}' ;;
        *'"batch": 32,'*) answer='{"frames": 128, "seconds": 8.0}' ;;
        *'"batch": 64,'*) exit 9 ;;
      esac
      echo "$answer"
    done
    """)
    variant = {"size": 64, "patch": 8, "batches": (8, 16, 32, 64)}
    with PeerProcess(PEER, "lewm_step.py", threads=1) as peer:
        lewm = LeWM(peer, {"lewm_64": variant}, threads=1)
        lewm.build(seconds=1.0, progress=silent)
        assert lewm.measures()["lewm_64"]() == 32.0
    assert lewm.about["lewm_64"]["batch"] == 16
    tried = {"8": 16.0, "16": 32.0, "32": 16.0}
    assert lewm.about["lewm_64"]["tried_frames_per_s"] == tried

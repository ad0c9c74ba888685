"""A process started in ``deaf_to_interrupts`` does not hear Ctrl-C; the one that starts it does."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from armillary.core.interrupts import deaf_to_interrupts

CHILD = "import time; print('ready', flush=True); time.sleep(1); print('whole', flush=True)"


@pytest.fixture(autouse=True)
def hearing() -> Iterator[None]:
    """Hear Ctrl-C, also where a script that ignores it started the tests in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def child() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        restore_signals=False,
    )


@pytest.mark.parametrize("deaf", [True, False])
def test_only_a_deaf_process_outlives_an_interrupt(deaf: bool) -> None:
    if deaf:
        with deaf_to_interrupts():
            started = child()
    else:
        started = child()
    with started as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ("whole\n" if deaf else "")


def test_what_arrives_meanwhile_is_answered_after() -> None:
    """The signal goes to this thread alone. Another one, which blocks nothing, answers late."""
    heard_too_early = True
    with pytest.raises(KeyboardInterrupt), deaf_to_interrupts():
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        heard_too_early = False
    assert not heard_too_early

"""The code blocks of a Markdown page, and how to run them in order in one folder.

- ``python`` blocks run one after another in one interpreter, so later ones see earlier names.
- ``bash`` blocks run in a shell that ends at the first error.
- A block with ``title="NAME"`` is written to the file NAME.
- ``text`` blocks show output. A block below ``<!-- not run: why -->`` is left out.
- A ``bash`` block below ``<!-- in the background -->`` is a server: the page goes on once it says
  how it is stopped, and it is stopped at the end.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?P<skip><!-- not run: (?P<why>[^>]+?) -->\s*\n)?"
    r"(?P<background><!-- in the background -->\s*\n)?"
    r"^```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<code>.*?)^```\s*$",
    re.MULTILINE | re.DOTALL,
)
SHOWN = ("text",)
RUN = ("python", "bash")
_STARTED = "Ctrl-C stops it"  # what every server of ours prints once it listens
_STARTS_S, _STOPS_S = 300, 60

_INTERPRETER = """
import json, sys
names = {"__name__": "__main__"}
for line in sys.stdin:
    exec(compile(json.loads(line), "<page>", "exec"), names)
    print(flush=True)
    print("<block is done>", flush=True)
"""


@dataclass(frozen=True)
class Block:
    """A code block: its language, code, file name if it has one, and why it is not run if so."""

    language: str
    code: str
    file: str | None
    not_run: str | None
    background: bool = False


def blocks(text: str) -> list[Block]:
    """Return the code blocks of a page, in order."""
    found = []
    for match in BLOCK.finditer(text):
        title = re.search(r'title="([^"]+)"', match["options"])
        file = title[1] if title else None
        served = match["background"] is not None
        found.append(Block(match["language"], match["code"], file, match["why"], served))
    return found


def run_page(
    page: Path,
    folder: Path,
    armillary: Path,
    changes: Mapping[str, str] | None = None,
    before_end: Callable[[], None] = lambda: None,
) -> None:
    """Run all blocks of a page in a folder; ``armillary`` is the folder of the program.

    Args:
        page: that is run.
        folder: to run in.
        armillary: folder of the program.
        changes: texts of the code that are replaced, such as ports that may be taken.
        before_end: called after the last block, while the servers of the page still run.

    Raises:
        AssertionError: a block failed; the message has the block and what it printed.
    """
    environment = {
        **os.environ,
        "PATH": f"{armillary}{os.pathsep}{os.environ['PATH']}",
        "ARMILLARY_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    text = page.read_text()
    for before, after in (changes or {}).items():
        text = text.replace(before, after)
    with ExitStack() as servers, _interpreter(folder, environment) as interpreter:
        for block in blocks(text):
            if block.not_run or block.language in SHOWN:
                continue
            assert block.language in RUN, f"{page.name}: a block of {block.language!r} cannot run"
            if block.file:
                (folder / block.file).write_text(block.code)
            elif block.background:
                servers.enter_context(_server(block, folder, environment))
            elif block.language == "bash":
                _shell(block, folder, environment)
            else:
                _python(block, interpreter)
        before_end()


@contextmanager
def _interpreter(folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run the Python of a page."""
    with subprocess.Popen(
        [sys.executable, "-c", _INTERPRETER],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as interpreter:
        yield interpreter
        assert interpreter.stdin is not None
        interpreter.stdin.close()


@contextmanager
def _server(block: Block, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a block that goes on until it is interrupted, as a reader does with Ctrl-C."""
    log = folder / f"{time.monotonic_ns()}.log"
    with log.open("w") as out:
        # exec: the interrupt is for the program, and not for a shell around it
        process = subprocess.Popen(
            ["bash", "-euc", f"exec {block.code}"],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            # a shell that runs the tests in the background makes all of its children deaf to it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        end = time.monotonic() + _STARTS_S
        while _STARTED not in log.read_text():
            assert process.poll() is None, f"{block.code}\n{log.read_text()}"
            assert time.monotonic() < end, f"{block.code} did not start\n{log.read_text()}"
            time.sleep(0.1)
        yield
        process.send_signal(signal.SIGINT)
        assert process.wait(_STOPS_S) == 0, f"{block.code}\n{log.read_text()}"
    finally:
        process.kill()
        process.wait()


def _shell(block: Block, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{block.code}\n{done.stdout}\n{done.stderr}"


def _python(block: Block, interpreter: subprocess.Popen[str]) -> None:
    assert interpreter.stdin is not None and interpreter.stdout is not None
    interpreter.stdin.write(json.dumps(block.code) + "\n")
    interpreter.stdin.flush()
    printed = []
    for line in interpreter.stdout:
        if line == "<block is done>\n":
            return
        printed.append(line)
    raise AssertionError(f"{block.code}\n{''.join(printed)}")

"""The code blocks of a Markdown page, and how to run them in order in one folder.

- ``python`` blocks run one after another in one interpreter, so later ones see earlier names.
- ``bash`` blocks run in a shell that ends at the first error.
- A block with ``title="NAME"`` is written to the file NAME.
- ``text`` blocks show output. A block below ``<!-- not run: why -->`` is left out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?P<skip><!-- not run: (?P<why>[^>]+?) -->\s*\n)?"
    r"^```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<code>.*?)^```\s*$",
    re.MULTILINE | re.DOTALL,
)
SHOWN = ("text",)
RUN = ("python", "bash")

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


def blocks(text: str) -> list[Block]:
    """Return the code blocks of a page, in order."""
    found = []
    for match in BLOCK.finditer(text):
        title = re.search(r'title="([^"]+)"', match["options"])
        file = title[1] if title else None
        found.append(Block(match["language"], match["code"], file, match["why"]))
    return found


def run_page(page: Path, folder: Path, armillary: Path) -> None:
    """Run all blocks of a page in a folder; ``armillary`` is the folder of the program.

    Raises:
        AssertionError: a block failed; the message has the block and what it printed.
    """
    environment = {
        **os.environ,
        "PATH": f"{armillary}{os.pathsep}{os.environ['PATH']}",
        "ARMILLARY_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-c", _INTERPRETER],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as interpreter:
        for block in blocks(page.read_text()):
            if block.not_run or block.language in SHOWN:
                continue
            assert block.language in RUN, f"{page.name}: a block of {block.language!r} cannot run"
            if block.file:
                (folder / block.file).write_text(block.code)
            elif block.language == "bash":
                _shell(block, folder, environment)
            else:
                _python(block, interpreter)
        assert interpreter.stdin is not None
        interpreter.stdin.close()


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

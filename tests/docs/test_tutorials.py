"""Every code block of the quickstart and of the tutorials runs as it stands, in order."""

from __future__ import annotations

import json
import socket
import sys
import urllib.request
from pathlib import Path

import pytest
from pages import Block, blocks, run_page
from websockets.sync.client import connect

from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.config import EncoderConfig
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import save_goal_policy
from armillary.worlds import make_world

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "quickstart.md", *sorted((DOCS / "tutorials").glob("*.md"))]
# A minute or two each, which CI has not: its 25 minutes are full. ``make test-slow`` runs them.
SLOW = (
    "compare-two-models",
    "from-a-robots-log",
    "quickstart",
    "your-own-simulator",
    "your-own-videos",
)
SERVED = "serve-and-play"  # has a test of its own: servers, and a model that takes no training
MOST_NOT_RUN = 4  # of all pages together: installing from an address, and the like


@pytest.mark.timeout(1200)  # each takes well under a minute of an idle core; machines are shared
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page.stem in SLOW else [], id=page.stem)
        for page in PAGES
        if page.stem != SERVED
    ],
)
def test_the_code_of_the_page_runs(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path, Path(sys.executable).parent)


@pytest.mark.timeout(1200)
def test_a_model_is_served_and_played_as_the_page_says(tmp_path: Path) -> None:
    small_model(tmp_path / "out" / "demo" / "run" / "model")
    serve, play = free_port(), free_port()

    def check() -> None:
        metrics = fetched(f"http://127.0.0.1:{serve}/metrics")
        steps = make_world("tabletop").spec.budget
        assert f"armillary_decisions_total {steps + 1}\n" in metrics  # one, and an episode
        assert "armillary_refused_requests_total" not in metrics
        for name in ("", "play.js", "play.css"):
            assert len(fetched(f"http://127.0.0.1:{play}/{name}")) > 1000
        imagined, real = first_frame(play)
        assert imagined.startswith(b"RIFF") and real.startswith(b"RIFF")  # files of WebP

    changes = {"8000": str(serve), "8001": str(play)}
    run_page(
        DOCS / "tutorials" / f"{SERVED}.md", tmp_path, Path(sys.executable).parent, changes, check
    )


def small_model(out: Path) -> None:
    """Write an untrained model of the tabletop with a goal policy, in place of the demo's."""
    encoder = EncoderConfig(image_size=16, width=16)
    config = JEPAConfig(encoder=encoder, action_width=2, frame_skip=1, sensors=("rgb",))
    save_model(untrained(config, 0), out)
    policy = untrained_goal_policy(GoalPolicyConfig(config.latent_width, 2, hidden=16, layers=1), 0)
    policy.farthest.fill_(8.0)
    save_goal_policy(policy, out)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def fetched(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode()


def first_frame(port: int) -> tuple[bytes, bytes]:
    """Open the websocket as the page does; return what is predicted and what is real."""
    address = f"127.0.0.1:{port}"
    with connect(f"ws://{address}/session", origin=f"http://{address}") as page:
        page.send(json.dumps({"type": "hello", "key": ""}))
        while isinstance(message := page.recv(timeout=120), str):
            assert json.loads(message)["type"] in ("wait", "begun"), message
    length = 4 + int.from_bytes(message[:4], "little")
    facts, pictures = json.loads(message[4:length]), message[length:]
    assert len(pictures) == facts["imagined"] + facts["real"]
    return pictures[: facts["imagined"]], pictures[facts["imagined"] :]


def test_nearly_all_code_is_run() -> None:
    every = [block for page in PAGES for block in blocks(page.read_text())]
    assert len([block for block in every if block.not_run]) <= MOST_NOT_RUN
    assert all(len(blocks(page.read_text())) >= 3 for page in PAGES)


def test_blocks_are_read_with_language_file_and_reason() -> None:
    text = '```python title="a.py"\nx = 1\n```\n\n<!-- not run: no network -->\n```bash\nls\n```\n'
    text += "\n<!-- in the background -->\n```bash\nserve\n```\n"
    assert blocks(text) == [
        Block("python", "x = 1\n", "a.py", None),
        Block("bash", "ls\n", None, "no network"),
        Block("bash", "serve\n", None, None, background=True),
    ]


ENDLESS = """
import pathlib, time
try:
    print("Ctrl-C stops it", flush=True)
    time.sleep(99)
except KeyboardInterrupt:
    pathlib.Path("interrupted").touch()
"""


def test_a_server_of_a_page_runs_until_its_end_and_is_then_interrupted(tmp_path: Path) -> None:
    page, interrupted = tmp_path / "page.md", tmp_path / "interrupted"
    program = Path(sys.executable).parent
    (tmp_path / "server.py").write_text(ENDLESS)
    server = "<!-- in the background -->\n```bash\npython server.py\n```\n"
    page.write_text(f"{server}\n```bash\ntest ! -e interrupted\n```\n")
    before = []
    run_page(page, tmp_path, program, before_end=lambda: before.append(interrupted.exists()))
    assert (before, interrupted.exists()) == ([False], True)
    page.write_text(server.replace("server.py", "none.py"))
    with pytest.raises(AssertionError, match=r"none\.py"):
        run_page(page, tmp_path, program)


@pytest.mark.parametrize("language", ["python", "bash"])
def test_a_block_that_fails_is_found(language: str, tmp_path: Path) -> None:
    code = {"python": "x = 1\n```\n\n```python\nassert x == 2", "bash": "false\ntrue"}[language]
    page = tmp_path / "page.md"
    page.write_text(f"```{language}\n{code}\n```\n")
    with pytest.raises(AssertionError):
        run_page(page, tmp_path, Path(sys.executable).parent)


def test_later_python_sees_earlier_names_and_files(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '```python title="mine.py"\nvalue = 3\n```\n\n```python\nimport mine\n```\n\n'
        '```bash\necho 4 > four\n```\n\n```python\nassert mine.value + int(open("four").read()) '
        "== 7\n```\n"
    )
    run_page(page, tmp_path, Path(sys.executable).parent)

"""A real client asks a real server over stdin and stdout."""

from __future__ import annotations

import base64
import io
import json
import os
import sys

import pytest
from PIL import Image

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from mcp import StdioServerParameters
from mcp.client import Client

ASKED = {"model": "small", "dataset": "rooms", "episode": 2}
RIGHT = [
    ("list", {}),
    ("encode", {**ASKED, "step": 3}),
    ("predict", {**ASKED, "step": 3}),
    ("predict", {**ASKED, "step": 3, "actions": [[0.1, 0.0]] * 4}),
    ("surprise", ASKED),
    ("plan", {**ASKED, "step": 3, "goal_step": 20, "ahead": 4}),
    ("view", {"dataset": "rooms", "episode": 2, "step": 3}),
]
WRONG = [
    ("encode", {**ASKED, "step": 300}, "There is no step 300; episode 2 has 25, from 0 to 24."),
    ("encode", {**ASKED, "step": "a"}, "The argument step of encode cannot be used: "),
    ("encode", ASKED, "The argument step of encode cannot be used: field required."),
    ("encode", {**ASKED, "step": 0, "model": "/etc"}, "There is no model called"),
    ("predict", {**ASKED, "step": 0, "ahead": 99}, "The argument ahead of predict cannot be used"),
    ("predict", {**ASKED, "step": 0, "actions": [[1.0]]}, "Give 1 to 64 actions, a multiple of 2"),
    ("predict", {**ASKED, "step": 0, "acts": []}, "There is no argument of predict called 'acts'."),
    ("view", {"dataset": "rooms", "episode": 99, "step": 0}, "rooms: there is no episode 99"),
    ("fly", {}, "There is no tool called 'fly'."),
]


def parameters(folder, searching, data) -> StdioServerParameters:
    words = ["-m", "armillary", "mcp", str(folder), str(searching), "--data", str(data.path)]
    return StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))


@pytest.mark.runs  # a server and its worker start: 9 s
def test_a_client_is_told_what_it_asks_and_what_it_asked_wrong(
    folder, searching, data, tmp_path, run_async
):
    run_async(_conversation(parameters(folder, searching, data), str(data.path), tmp_path))


async def _conversation(server, path, tmp_path):
    async with Client(server) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert listed.keys() == {"list", "encode", "predict", "surprise", "plan", "view"}
        for tool in listed.values():
            assert tool.annotations.read_only_hint and len(tool.description) > 60
            assert not any("path" in name for name in tool.input_schema["properties"])
        actions = listed["predict"].input_schema["properties"]["actions"]
        assert actions["anyOf"][0]["maxItems"] == 256
        for name, arguments in RIGHT:
            found = await client.call_tool(name, arguments)
            assert not found.is_error, found.content
            text, *pictures = found.content
            facts = json.loads(text.text)
            assert facts == found.structured_content and facts["time_limit_s"] == 60.0
            assert path not in text.text
            for one in pictures:
                drawn = Image.open(io.BytesIO(base64.b64decode(one.data)))
                assert one.mime_type == "image/png" and max(drawn.size) <= 800
            assert len(pictures) == (name in ("predict", "plan", "view"))
        for name, arguments, said in WRONG:
            found = await client.call_tool(name, arguments)
            (text,) = found.content
            assert found.is_error and text.text.startswith(said), text.text
            assert "Traceback" not in text.text and "\n" not in text.text
            assert path not in text.text
        assert not (await client.call_tool("list", {})).is_error

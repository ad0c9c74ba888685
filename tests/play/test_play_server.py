"""The page and its websocket: who may talk, what is answered, and that it ends cleanly."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from armillary.cli.main import main
from armillary.core.errors import ConfigError, StorageError
from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.config import EncoderConfig
from armillary.play import PlayConfig, open_recording, open_world, playing

pytestmark = pytest.mark.runs  # servers in processes of their own: 3 to 12 s each

KEY = "k" * 20


@pytest.fixture(scope="module")
def opening(folder: Path):
    return open_world(str(folder), "two_rooms")


@contextmanager
def running(opening, **config):
    """Serve in a thread; gives the server."""
    ready, done, found = threading.Event(), None, []
    loop = asyncio.new_event_loop()

    async def work():
        nonlocal done
        done = asyncio.Event()
        async with playing(opening, PlayConfig(port=0, hz=30.0, **config)) as server:
            found.append(server)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(work(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(30)
        assert not thread.is_alive()
        loop.close()


@contextmanager
def page(server, origin: str | None = "http://127.0.0.1:{port}", key: str = ""):
    """Talk as a page does."""
    given = None if origin is None else origin.format(port=server.port)
    with connect(f"ws://127.0.0.1:{server.port}/session", origin=given) as client:
        client.send(json.dumps({"type": "hello", "key": key}))
        yield client


def said(client, kind: str) -> dict:
    """Return the next message of a kind; frames are acknowledged on the way."""
    for _ in range(400):
        data = client.recv(timeout=20)
        if isinstance(data, bytes):
            facts = frame_of(data)
            client.send(json.dumps({"type": "shown", "frame": facts["frame"]}))
            if kind == "frame":
                return facts
        elif json.loads(data)["type"] == kind:
            return json.loads(data)
    raise AssertionError(f"no {kind} came")


def frame_of(data: bytes) -> dict:
    (length,) = struct.unpack("<I", data[:4])
    return json.loads(data[4 : 4 + length])


def got(server, path: str, **headers):
    asked = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=10) as reply:
            return reply.status, dict(reply.headers), reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read().decode()


def test_a_page_drives(opening) -> None:
    with running(opening) as server, page(server) as client:
        begun = said(client, "begun")
        assert begun["name"] == "two_rooms" and begun["low"] == [-0.025, -0.025]
        assert begun["places"][0]["unit"] == "m"
        first = said(client, "frame")
        assert first["step"] == 0 and first["gap"] is None
        client.send(json.dumps({"type": "drive", "axes": [1, 0], "key": 1}))
        while (frame := said(client, "frame"))["key"] < 1:
            pass
        assert frame["action"] == [0.025, 0.0] and frame["gap"] > 0
        client.send(json.dumps({"type": "pause", "on": True}))
        while not (frame := said(client, "frame"))["paused"]:
            pass
        client.send(json.dumps({"type": "step"}))
        assert said(client, "frame")["step"] == frame["step"] + 1
        client.send(json.dumps({"type": "reset", "seed": 9}))
        assert said(client, "begun")["seed"] == 9
        assert said(client, "frame")["step"] == 0


def shown_as(client, sensor: str) -> dict:
    """Return the first frame that shows a sensor."""
    client.send(json.dumps({"type": "show", "sensor": sensor}))
    while (frame := said(client, "frame"))["sensor"] != sensor:
        pass
    return frame


@pytest.mark.parametrize(("world", "sensors"), [("tabletop", 3), ("yard", 2)])
def test_a_page_chooses_what_is_shown(tmp_path, world: str, sensors: int) -> None:
    encoder = EncoderConfig(image_size=16, width=16)
    config = JEPAConfig(encoder=encoder, action_width=2, sensors=("rgb",))
    save_model(untrained(config, 0), tmp_path / "model")
    with running(open_world(str(tmp_path / "model"), world)) as server, page(server) as client:
        begun = said(client, "begun")
        assert len(begun["sensors"]) == sensors and begun["sensor"] == "colour"
        assert said(client, "frame")["sensor"] == "colour"
        client.send(json.dumps({"type": "drive", "axes": [1, 0], "key": 1}))
        for sensor in (*begun["sensors"], "colour"):
            frame = shown_as(client, sensor)
            assert frame["imagined"] > 0 and frame["real"] > 0
            assert ("range_m" in frame) == (sensor != "colour")
        client.send(json.dumps({"type": "pause", "on": True}))
        paused = shown_as(client, "points")  # where time stands, too
        assert paused["paused"] and 0 < paused["clouds"]["real"]["count"] <= 4096
        client.send(json.dumps({"type": "reset", "seed": 1}))
        assert said(client, "begun")["sensor"] == "points"
        assert said(client, "frame")["sensor"] == "points"


def test_what_is_not_given_is_not_shown(opening) -> None:
    with running(opening) as server, page(server) as client:
        assert said(client, "begun")["sensors"] == ["colour"]
        client.send(json.dumps({"type": "show", "sensor": "points"}))
        client.send(json.dumps({"type": "drive", "axes": [1, 0], "key": 1}))
        while (frame := said(client, "frame"))["key"] < 1:
            pass
        assert frame["sensor"] == "colour" and "clouds" not in frame


def test_an_unknown_message_gets_a_sentence_and_costs_nothing(opening) -> None:
    with running(opening) as server, page(server) as client:
        said(client, "begun")
        client.send('{"type": "open", "path": "../../etc/passwd"}')
        assert said(client, "refused")["sentence"].startswith("There is no message 'open'.")
        assert said(client, "frame")
        for _ in range(60):
            client.send("{")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                said(client, "frame")
        assert closed.value.rcvd.code == 1008


def test_a_message_that_is_too_long_ends_the_connection(opening) -> None:
    with running(opening) as server, page(server) as client:
        said(client, "begun")
        client.send("x" * 5000)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                client.recv(timeout=20)
        assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("origin", [None, "http://evil.example", "http://127.0.0.1:1", "null"])
def test_other_pages_are_refused(opening, origin) -> None:
    with running(opening) as server:
        with pytest.raises(InvalidStatus) as refused, page(server, origin):
            raise AssertionError
        assert refused.value.response.status_code == 403
        assert server.drives.counts["refused_origin"] == 1


def test_a_name_that_was_made_to_point_here_is_refused(opening) -> None:
    with running(opening) as server:
        status, _, text = got(server, "/", Host="evil.example")
        assert status == 403 and "Open the page by the address that was shown." in text
        assert got(server, "/", Host=f"localhost:{server.port}")[0] == 200
        assert got(server, "/", Host=f"[::1]:{server.port}")[0] == 200


def test_only_the_page_is_read_from_the_disk(opening) -> None:
    with running(opening) as server:
        status, headers, text = got(server, "/")
        policy = headers["Content-Security-Policy"]
        assert status == 200 and "default-src 'none'" in policy and "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=", text)
        for name in ("/play.js", "/cloud.js", "/play.css", "/icon.svg"):
            assert got(server, name)[0] == 200
        for path in ("/../server.py", "/%2e%2e/server.py", "/page/index.html", "/player.js", "/x"):
            assert got(server, path)[0] == 404
        assert got(server, "/healthz")[::2] == (200, "OK\n")


def test_who_comes_later_waits(opening) -> None:
    with running(opening, sessions=1) as server:
        with page(server) as client:
            said(client, "begun")
            with page(server) as second:
                told = json.loads(second.recv(timeout=20))
                assert told["type"] == "full"
                assert told["sentence"].startswith("Another page is driving.")
                with pytest.raises(ConnectionClosed) as closed:
                    second.recv(timeout=20)
                assert closed.value.rcvd.code == 1013
        for _ in range(100):
            if not server.drives.driving:
                break
            time.sleep(0.05)
        with page(server) as third:
            assert said(third, "begun")


def test_two_pages_have_drives_of_their_own(opening) -> None:
    with running(opening) as server, page(server) as one, page(server) as other:
        said(one, "begun")
        said(other, "begun")
        other.send(json.dumps({"type": "reset", "seed": 7}))
        assert said(other, "begun")["seed"] == 7
        while said(one, "frame")["step"] < 3:
            pass


def test_a_key_is_asked_for(opening) -> None:
    with running(opening, key=KEY) as server:
        for wrong in ("", "k" * 19, "é"):
            with page(server, key=wrong) as client:
                assert json.loads(client.recv(timeout=20))["type"] == "key"
                with pytest.raises(ConnectionClosed):
                    client.recv(timeout=20)
        assert server.drives.counts["refused_key"] == 3
        with page(server, key=KEY) as client:
            assert said(client, "begun")


def test_a_page_that_shows_nothing_gets_no_more_than_a_few_frames(opening) -> None:
    with running(opening) as server, page(server) as client:
        said(client, "begun")
        frames = 0
        with pytest.raises(TimeoutError):
            while True:
                frames += isinstance(client.recv(timeout=1.0), bytes)
        assert 1 <= frames <= 3


def test_nobody_from_outside_without_a_key() -> None:
    with pytest.raises(ConfigError, match="so that not everybody drives here"):
        PlayConfig(host="0.0.0.0")
    with pytest.raises(ConfigError, match="A key has at least 16 characters; got 3"):
        PlayConfig(key="abc")
    with pytest.raises(ConfigError, match="Sessions are 1 to 64"):
        PlayConfig(sessions=0)
    with pytest.raises(ConfigError, match="A port is 0 to 65535"):
        PlayConfig(port=70_000)
    assert KEY not in repr(PlayConfig(key=KEY))


def test_a_port_in_use_is_one_sentence(opening, run_async) -> None:
    async def listen(port: int) -> None:
        async with playing(opening, PlayConfig(port=port)):
            raise AssertionError

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StorageError, match=r"cannot be listened on .* Choose another --port"):
            run_async(listen(taken.getsockname()[1]))


def test_wrong_input_is_one_sentence(folder, recording, tmp_path, capsys) -> None:
    def complaint(*words: object) -> str:
        assert main(["play", *map(str, words)]) == 2
        return capsys.readouterr().err

    assert "there is no folder" in complaint(tmp_path / "none", "two_rooms")
    assert "There is no world called 'two_room'. Did you mean" in complaint(folder, "two_room")
    assert "Name the world, or a recording with --data." in complaint(folder)
    assert "driven in place of a world" in complaint(folder, "two_rooms", "--data", recording)
    assert "has 8." in complaint(folder, "--data", recording, "--episode", 8)
    assert "a dataset folder was expected" in complaint(folder, "--data", tmp_path / "none")
    assert "This world has" not in complaint(folder, "--data", tmp_path)
    encoder = EncoderConfig(image_size=16, width=16)
    wide = JEPAConfig(encoder=encoder, action_width=5, sensors=("rgb",))
    save_model(untrained(wide, 0), tmp_path / "wide")
    assert "Use the world it was trained in." in complaint(tmp_path / "wide", "two_rooms")
    deep = JEPAConfig(encoder=encoder, action_width=2, sensors=("rgb", "depth"))
    save_model(untrained(deep, 0), tmp_path / "deep")
    assert "Play needs depth, which two_rooms does not give." in complaint(
        tmp_path / "deep", "two_rooms"
    )


def test_a_model_that_knows_its_recording_needs_no_world(folder, recording, tmp_path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "model").symlink_to(folder)
    (run / "data.json").write_text(json.dumps({"dataset": str(recording)}))
    assert open_world(str(run)).title["beside"] == "two_rooms"


def test_episodes_that_look_alike_draw_a_recording(folder, recording, monkeypatch) -> None:
    monkeypatch.setattr("armillary.play.opening._ALIKE", 255.0)
    session = open_recording(str(folder), recording, 2).session()
    assert session.begin(0)["drawn_from"] == "104 pictures of this episode and 7 that look alike"


def test_ctrl_c_ends_the_command(folder) -> None:
    words = [sys.executable, "-m", "armillary", "play", str(folder), "two_rooms", "--port", "0"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as run:
        line = run.stderr.readline()
        assert re.match(r"open http://127\.0\.0\.1:\d+/ in a browser; Ctrl-C stops it", line)
        port = int(line.split(":")[2].split("/")[0])
        origin = f"http://127.0.0.1:{port}"
        with connect(f"ws://127.0.0.1:{port}/session", origin=origin) as client:
            client.send('{"type": "hello"}')
            said(client, "frame")
            run.send_signal(signal.SIGINT)
            with pytest.raises(ConnectionClosed):
                while True:
                    client.recv(timeout=20)
        assert run.wait(20) == 0
        assert "stopped after" in run.stdout.read() and run.stderr.read() == ""

"""A served policy acts as it does in process; whoever is rude costs nobody else anything."""

import asyncio
import re
import socket
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from armillary.control import ModelSpec, WorldFactory, evaluate, make_manifest
from armillary.control.episode import policy_seed
from armillary.control.manifest import draw_goal
from armillary.control.records import actions_of
from armillary.core.errors import ConfigError, StorageError
from armillary.planning import Planning
from armillary.serve import Decider, ServerConfig, Session, pack, serving, unpack, world_of_a_robot

SETTINGS = {"image_size": 16}
KEY = "k" * 20


@pytest.fixture(scope="module")
def world():
    made = WorldFactory("two_rooms", SETTINGS)()
    yield made
    made.close()


@pytest.fixture(scope="module")
def decider(folder, world) -> Decider:
    return Decider.load(ModelSpec(folder), world.spec)


@contextmanager
def running(decider, **config):
    """Serve in a thread; gives the server and its address."""
    ready, done, found = threading.Event(), None, []
    loop = asyncio.new_event_loop()

    async def work():
        nonlocal done
        done = asyncio.Event()
        async with serving(decider, ServerConfig(port=0, **config)) as server:
            found.append(server)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(work(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield found[0], f"ws://127.0.0.1:{found[0].port}"
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(20)
        assert not thread.is_alive()
        loop.close()


def asked(client, **request):
    client.send(pack(request))
    return unpack(client.recv(timeout=20))


def seen(observation):
    return {"observation/image": observation.streams["rgb"]}


def test_the_actions_are_those_of_acting_in_process(folder, world, decider):
    manifest = make_manifest("two_rooms", "reach", 3, 5, settings=SETTINGS)
    manifest = replace(manifest, budget=12)
    records = evaluate(manifest, ModelSpec(folder))
    served = Decider.load(ModelSpec(folder), replace(world.spec, budget=12))
    with running(served) as (server, address), connect(address) as client:
        told = unpack(client.recv())
        assert told["action_bounds"].shape == (2, 2) and told["action_horizon"] == 1
        assert told["observation_keys"] == ["observation/image"]
        for episode, record in zip(manifest.episodes, records, strict=True):
            now = world.reset(episode.seed)
            goal = draw_goal(world, manifest.task, episode).observation
            first = {"goal/image": goal.streams["rgb"], "seed": policy_seed(episode)}
            sent = []
            for _ in range(record.steps):
                reply = asked(client, **seen(now), **first)
                first = {}
                sent.append(reply["actions"][0])
                assert all(len(v) == 1 for v in reply.values() if isinstance(v, np.ndarray))
                now = world.step(reply["actions"][0])
            np.testing.assert_array_equal(np.array(sent), actions_of(record))
        assert reply["server_timing"].keys() == {"infer_ms", "prev_total_ms"}
        assert server.counts["decisions"] == sum(record.steps for record in records)


def test_two_clients_have_goals_of_their_own(world, decider):
    now = world.reset(1)
    goals = [world.draw_goal("reach", np.random.default_rng(n)).observation for n in (1, 2)]
    with running(decider) as (_, address), connect(address) as one, connect(address) as other:
        for client in (one, other):
            client.recv()
        replies = [
            asked(client, **seen(now), **{"goal/image": goal.streams["rgb"]})
            for client, goal in zip((one, other), goals, strict=True)
        ]
        assert replies[0]["plan"]["cost"] != replies[1]["plan"]["cost"]
        again = [asked(client, **seen(now), reset=True) for client in (one, other)]
        for before, after in zip(replies, again, strict=True):
            np.testing.assert_array_equal(before["actions"], after["actions"])
            assert before["plan"] == after["plan"]


def test_one_slow_search_is_not_the_last(decider):
    for ms in (*[10.0] * 9, 100.0):
        decider.took(True, ms)
    for _ in range(200):
        decider.left_out(5.0)  # none fits into this, so nothing is forgotten
    assert decider.expected_ms(True) > 30.0
    for _ in range(49):
        decider.left_out(30.0)
    assert decider.expected_ms(True) > 30.0
    decider.left_out(30.0)
    assert 10.0 < decider.expected_ms(True) <= 30.0


def test_a_short_budget_is_kept_by_acting_without_the_search(world, decider):
    now, session = world.reset(1), Session(decider)
    goal = {
        "goal/image": world.draw_goal("reach", np.random.default_rng(1)).observation.streams["rgb"]
    }
    first = session.decide({**seen(now), **goal, "steps": 4})
    assert first["plan"]["searched"] and first["plan"]["model_steps"] > 0
    quick = session.decide({**seen(now), "latency_budget_ms": 1e-6})
    assert not quick["plan"]["searched"] and quick["plan"]["model_steps"] == 0
    slow = session.decide({**seen(now), "latency_budget_ms": 1e6})
    assert slow["plan"]["searched"] and not slow["plan"]["deadline_missed"]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ("text", "binary messages"),
        (b"\xc1", "no msgpack"),
        (pack({}), "no goal yet"),
        (pack({"goal/image": np.zeros((4, 4), np.uint8)}), r"uint8 picture \(H, W, 3\)"),
        (pack({"goal/image": np.zeros((4, 4, 3), np.float32)}), "uint8 picture"),
        (pack({"goal/image": np.zeros((0, 4, 3), np.uint8)}), "not read"),
        (pack({"goal/image": [1, 2]}), "no array"),
        (pack({"goal/image": np.zeros((8, 8, 3), np.uint8)}), "lacks 'observation/image'"),
        (pack({"goal/image": np.zeros((8, 8, 3), np.uint8), "seed": -1}), "seed is a whole"),
        (pack({"goal/image": np.zeros((8, 8, 3), np.uint8), "steps": "7"}), "steps is a whole"),
        (pack({"latency_budget_ms": float("nan")}), "latency_budget_ms is a number"),
    ],
)
def test_a_wrong_request_is_told_and_ends_the_connection(decider, request_, sentence):
    with running(decider) as (server, address), connect(address) as client:
        client.recv()
        client.send(request_)
        said = client.recv(timeout=10)
        assert isinstance(said, str) and "Traceback" not in said
        assert re.search(sentence, said)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1011
        assert server.counts["refused_requests"] == 1


def test_what_breaks_in_the_server_stays_there(decider, monkeypatch, caplog):
    monkeypatch.setattr(Session, "decide", lambda self, request: 1 / 0)
    with running(decider) as (_, address), connect(address) as client:
        client.recv()
        client.send(pack({}))
        assert client.recv(timeout=10) == "The server failed on this request; see its log."
    assert "ZeroDivisionError" in caplog.text


def test_an_oversized_message_is_refused_and_the_others_go_on(world, decider):
    now = world.reset(1)
    goal = {
        "goal/image": world.draw_goal("reach", np.random.default_rng(1)).observation.streams["rgb"]
    }
    with running(decider) as (_, address), connect(address) as honest:
        honest.recv()
        with connect(address) as rude:
            rude.recv()
            with pytest.raises(ConnectionClosed):
                rude.send(b"\0" * (17 << 20))
                rude.recv(timeout=10)
        assert asked(honest, **seen(now), **goal)["actions"].shape == (1, 2)


def test_health_metrics_keys_and_a_full_house(decider):
    with running(decider, key=KEY, clients=1) as (_, address):
        plain = address.replace("ws", "http")
        assert urllib.request.urlopen(f"{plain}/healthz").read() == b"OK\n"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{plain}/metrics")
        for headers in ({}, {"Authorization": f"Api-Key {KEY}x"}, {"Authorization": KEY}):
            with pytest.raises(InvalidStatus, match="401"):
                connect(address, additional_headers=headers)
        right = {"Authorization": f"Api-Key {KEY}"}
        with connect(address, additional_headers=right) as client:
            client.recv()
            with pytest.raises(InvalidStatus, match="503"):
                connect(address, additional_headers=right)
            asking = urllib.request.Request(f"{plain}/metrics", headers=right)
            said = urllib.request.urlopen(asking).read().decode()
            assert "armillary_clients 1\n" in said and "armillary_refused_key_total 4\n" in said


def test_a_guard_of_another_policy_and_addresses_without_a_key_are_refused(folder, world, tmp_path):
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0 can be reached from outside"):
        ServerConfig("0.0.0.0")
    with pytest.raises(ConfigError, match="at least 16 characters"):
        ServerConfig(key="short")
    with pytest.raises(ConfigError, match="A robot needs --low and --high"):
        world_of_a_robot((1.0,), (0.0,), 0.1, 50)
    robot = world_of_a_robot((-1.0, -1.0), (1.0, 1.0), 0.1, 50)
    blind = replace(world.spec, sensors={"proprio": "proprio"})
    with pytest.raises(ConfigError, match="sees rgb, which two_rooms does not give"):
        Decider.load(ModelSpec(folder), blind)
    direct = Decider.load(ModelSpec(folder, Planning("direct")), robot)
    assert not direct.searches and direct.metadata()["control_hz"] == 10
    with running(direct) as (server, _), pytest.raises(StorageError, match="cannot be listened on"):
        asyncio.run(_listen(direct, ServerConfig(port=server.port)))


async def _listen(decider, config):
    async with serving(decider, config):
        pass


def test_sockets_that_say_nothing_hold_up_nobody(world, decider):
    now, rng = world.reset(1), np.random.default_rng(1)
    goal = {"goal/image": world.draw_goal("reach", rng).observation.streams["rgb"]}
    with running(decider, clients=2) as (server, address):
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
        for one in silent[::2]:
            one.sendall(b"GET / HTTP/1.1\r\nUpgrade: websock")  # and nothing more
        with connect(address) as client:
            client.recv()
            assert asked(client, **seen(now), **goal)["actions"].shape == (1, 2)
        for one in silent:
            one.close()


def test_any_bytes_end_in_a_sentence_or_an_answer_and_the_server_goes_on(world, decider):
    now, rng = world.reset(1), np.random.default_rng(2)
    goal = {"goal/image": world.draw_goal("reach", rng).observation.streams["rgb"]}
    whole = pack({**seen(now), **goal, "seed": 3, "steps": 5})
    with running(decider) as (server, address):
        for _ in range(150):
            data = bytearray(whole)
            for place in rng.integers(0, min(len(data), 200), 3):
                data[place] = rng.integers(256)
            with connect(address) as client:
                client.recv()
                client.send(bytes(data[: rng.integers(1, len(data) + 1)]))
                said = client.recv(timeout=20)
                assert isinstance(said, bytes) or "Traceback" not in said
        assert server.counts["refused_requests"] > 50
        with connect(address) as client:
            client.recv()
            client.send(whole)
            assert unpack(client.recv(timeout=20))["actions"].shape == (1, 2)

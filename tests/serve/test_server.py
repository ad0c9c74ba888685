"""A served policy acts as it does in process; whoever is rude costs nobody else anything."""

import asyncio
import json
import logging
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import connect

from armillary.core.errors import ConfigError, StorageError
from armillary.evaluation import ModelSpec, WorldFactory, evaluate, make_manifest
from armillary.evaluation.episode import policy_seed
from armillary.evaluation.manifest import draw_goal
from armillary.evaluation.records import actions_of
from armillary.monitoring import fit_normal, save_guard, set_limits, watch
from armillary.monitoring.guard_file import watcher_of
from armillary.planning import Planning
from armillary.serve import Decider, ServerConfig, Session, pack, serving, unpack, world_of_a_robot
from armillary.serve.budget import Pace
from armillary.serve.codec import MAX_BYTES

SETTINGS = {"image_size": 16}
KEY = "k" * 20
GOAL = {"goal/image": np.zeros((8, 8, 3), np.uint8)}


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


@pytest.mark.parametrize("planner", ["", "icem"])
def test_the_actions_are_those_of_acting_in_process(folder, world, planner):
    small = {"samples": 8, "elites": 2, "iterations": 2, "length": 4} if planner else {}
    spec = ModelSpec(folder, Planning(planner, small))
    manifest = make_manifest("two_rooms", "reach", 3, 5, settings=SETTINGS)
    manifest = replace(manifest, budget=12)
    records = evaluate(manifest, spec)
    served = Decider.load(spec, replace(world.spec, budget=50))
    with running(served) as (server, address), connect(address) as client:
        told = unpack(client.recv())
        assert told["action_bounds"].shape == (2, 2) and told["action_horizon"] == 1
        assert told["observation_keys"] == ["observation/image"]
        for episode, record in zip(manifest.episodes, records, strict=True):
            now = world.reset(episode.seed)
            goal = draw_goal(world, manifest.task, episode).observation
            first = {"goal/image": goal.streams["rgb"], "seed": policy_seed(episode), "steps": 12}
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


def reachable(world, seed=1):
    """Return the picture of a goal."""
    return {
        "goal/image": world.draw_goal("reach", np.random.default_rng(seed)).observation.streams[
            "rgb"
        ]
    }


def test_a_search_is_as_large_as_fits_and_one_slow_search_is_not_the_last():
    pace = Pace()
    assert pace.ways(32, 10, 1.0) == 32  # nobody knows how long it takes
    for ways, ms in ((32, 100.0), (8, 60.0), (2, 40.0)):
        pace.took(ways, 10, ms)
    fits = {left: pace.ways(32, 10, left) for left in (101.0, 99.0, 59.0, 39.0)}
    assert fits == {101.0: 32, 99.0: 8, 59.0: 2, 39.0: 0}
    assert pace.ways(32, 5, 51.0) == 32  # half as long
    assert pace.ways(1, 10, 1.0) == 1
    left = [pace.ways(32, 10, 1.0) for _ in range(200)]
    assert left.count(32) == 150  # after 50 decisions without a search it is tried again
    assert left[:50] == [0] * 50


def test_a_search_ends_in_time_and_what_stands_is_the_goal_policys(
    folder, world, decider, monkeypatch
):
    now, session = world.reset(1), Session(decider)
    first = session.decide({**seen(now), **reachable(world), "steps": 8})
    assert first["plan"]["searched"] and first["plan"]["model_steps"] > 0
    slow = session.decide({**seen(now), "latency_budget_ms": 1e6, "reset": True, "steps": 8})
    assert slow["plan"]["searched"] and not slow["plan"]["deadline_missed"]
    np.testing.assert_array_equal(first["actions"], slow["actions"])
    direct = Session(Decider.load(ModelSpec(folder, Planning("direct")), world.spec))
    wanted = direct.decide({**seen(now), **reachable(world), "steps": 8})

    model = decider.bare.model
    monkeypatch.setattr(type(model), "step", slowly(type(model).step))
    session.decider.pace.step_ms.clear()
    began = time.perf_counter()
    cut = session.decide({**seen(now), "latency_budget_ms": 500, "reset": True, "steps": 8})
    took = time.perf_counter() - began
    assert cut["plan"]["cut_short"] and not cut["plan"]["searched"]
    assert not cut["plan"]["deadline_missed"] and took < 0.5
    np.testing.assert_array_equal(cut["actions"], wanted["actions"])
    none = session.decide({**seen(now), "latency_budget_ms": 1e-6})
    assert none["plan"]["deadline_missed"] and not none["plan"]["searched"]


def slowly(step):
    def slow(*given):
        time.sleep(0.3)
        return step(*given)

    return slow


def test_a_budget_counts_from_when_the_request_came(world, decider):
    session = Session(decider)
    asked_for = {**seen(world.reset(1)), **reachable(world), "latency_budget_ms": 1000}
    reply = session.decide(asked_for, time.perf_counter() - 2)
    assert reply["plan"]["deadline_missed"] and reply["policy_timing"]["infer_ms"] > 2000


def test_a_search_without_a_goal_policy_has_no_best_so_far(folder, world):
    settings = {"length": 2, "samples": 4, "elites": 2, "iterations": 1}
    session = Session(Decider.load(ModelSpec(folder, Planning("cem", settings)), world.spec))
    asked_for = {**seen(world.reset(1)), **reachable(world)}
    assert session.decide(asked_for)["plan"]["searched"]
    with pytest.raises(ConfigError, match="cannot be cut short"):
        session.decide({**asked_for, "latency_budget_ms": 5})


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
        (pack({"reset": np.ones(3), **GOAL}), "reset is true or false"),
        (pack({"reset": "yes", **GOAL}), "reset is true or false"),
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
    monkeypatch.setattr(Session, "decide", lambda self, request, began: 1 / 0)
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
                rude.send(b"\0" * (MAX_BYTES + 1))
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


def test_a_guard_of_another_policy_and_addresses_without_a_key_are_refused(
    folder, world, tmp_path, run_async
):
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
    assert direct.bare.search is None and direct.metadata()["control_hz"] == 10
    with running(direct) as (server, _), pytest.raises(StorageError, match="cannot be listened on"):
        run_async(_listen(direct, ServerConfig(port=server.port)))


async def _listen(decider, config):
    async with serving(decider, config):
        pass


def test_a_client_that_connects_again_needs_its_goal_again(world, decider):
    now = world.reset(1)
    with running(decider) as (_, address):
        with connect(address) as client:
            client.recv()
            assert asked(client, **seen(now), **reachable(world))["actions"].shape == (1, 2)
        with connect(address) as client:
            client.recv()
            client.send(pack(seen(now)))
            assert "There is no goal yet. Send one" in client.recv(timeout=10)


def test_a_new_client_takes_the_place_of_a_silent_one_and_of_no_other(
    world, decider, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "armillary.serve")
    with running(decider, clients=2) as (server, address), connect(address) as silent:
        silent.recv()
        with connect(address) as busy:
            busy.recv()
            with pytest.raises(InvalidStatus, match="503"):
                connect(address)
            monkeypatch.setattr("armillary.serve.server._SILENT_S", 0.3)
            time.sleep(0.4)
            assert asked(busy, **seen(world.reset(1)), **reachable(world))
            with connect(address) as new:
                new.recv()
                assert asked(new, **seen(world.reset(1)), **reachable(world))
            assert asked(busy, **seen(world.reset(1)))
            with pytest.raises(ConnectionClosed) as closed:
                silent.recv(timeout=10)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001
        assert server.counts["closed_silent"] == server.counts["refused_full"] == 1
    events = [json.loads(line)["event"] for line in caplog.messages]
    assert events.count("connected") == events.count("closed") == 3


def test_a_client_decides_no_more_often_than_it_may(world, decider):
    now = world.reset(1)
    with running(decider, most_hz=20) as (_, address), connect(address) as client:
        client.recv()
        asked(client, **seen(now), **reachable(world))
        began = time.monotonic()
        for _ in range(6):
            asked(client, **seen(now))
        assert 0.25 < time.monotonic() - began < 3


def test_tls_encrypts_and_a_file_that_is_no_certificate_is_one_sentence(decider, tmp_path):
    certificate, key = self_signed(tmp_path)
    trusted = ssl.create_default_context(cafile=str(certificate))
    with running(decider, certificate=certificate, certificate_key=key) as (server, _):
        with connect(f"wss://127.0.0.1:{server.port}", ssl=trusted) as client:
            assert unpack(client.recv())["protocol"] == "armillary/1"
        with pytest.raises((InvalidMessage, ConnectionClosed, EOFError, OSError)):
            connect(f"ws://127.0.0.1:{server.port}")
    key.write_text("no key")
    with pytest.raises(StorageError, match="is no certificate with a key"):
        ServerConfig(certificate=certificate, certificate_key=key).tls()


def self_signed(folder):
    """Write a certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "robot")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    made = made.public_key(key.public_key()).serial_number(7).add_extension(address, critical=False)
    made = made.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    pem = serialization.Encoding.PEM
    (folder / "robot.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "robot.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "robot.pem", folder / "robot.key"


RULES = replace(make_manifest("two_rooms", "reach", 8, 3, settings=SETTINGS), budget=16)


@pytest.fixture(scope="module")
def guard(folder, world, tmp_path_factory):
    """A guard of the served policy, with limits of a few normal episodes."""
    spec = ModelSpec(folder)
    policy = spec(world.spec)
    watcher = watcher_of(policy, 4)
    lives = []
    for record in evaluate(RULES, spec):
        actions = actions_of(record)
        shown = [world.reset(record.seed), *(world.step(action) for action in actions)]
        lives.append(watch(watcher, shown, actions))
    made = set_limits(fit_normal(lives), lives, 0.2, watcher.history, spec.identity())
    # so few episodes say little; what is put in is far beyond, and the rest is one of them again
    made = replace(made, limits={name: 2 * limit + 1 for name, limit in made.limits.items()})
    path = tmp_path_factory.mktemp("guard") / "guard.json"
    save_guard(made, path)
    return path


def test_a_stop_reaches_the_client_in_the_reply_to_what_surprised(folder, world, guard):
    guarded = Decider.load(ModelSpec(folder), world.spec, guard)
    episode = RULES.episodes[0]
    with running(guarded) as (server, address), connect(address) as client:
        assert unpack(client.recv())["guarded"]
        for limit in ({}, {"latency_budget_ms": 1e6}):
            now, surprises = world.reset(episode.seed), []
            goal = draw_goal(world, RULES.task, episode).observation.streams["rgb"]
            request = {"goal/image": goal, "seed": policy_seed(episode), "steps": RULES.budget}
            for _ in range(8):
                reply = asked(client, **seen(now), **request, **limit)
                request = {}
                assert not reply["stop"][0] and "alarm" not in reply["plan"]
                surprises.append(reply["plan"].get("surprise"))
                now = world.step(reply["actions"][0])
            # two world steps are one model step: every second decision is judged
            assert surprises[0] is None
            assert all(0 <= share <= 1 for share in surprises if share is not None)
            assert sum(share is not None for share in surprises) >= 3
            turned = {"observation/image": 255 - now.streams["rgb"][::-1, ::-1]}
            replies = [asked(client, **turned, **limit) for _ in range(2)]
            stops = [bool(reply["stop"][0]) for reply in replies]
            assert stops[1], replies  # within a model step of the change
            assert replies[1]["plan"]["surprise"] > 1
            np.testing.assert_array_equal(replies[1]["actions"], np.zeros((1, 2)))
        assert server.counts["stops"] >= 2


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


def test_who_is_refused_again_and_again_waits_longer_and_nobody_else_does(
    world, decider, monkeypatch
):
    monkeypatch.setattr("armillary.serve.server._PAUSE_S", 0.0)
    monkeypatch.setattr("armillary.serve.server._LONG_PAUSE_S", 0.5)
    now = world.reset(1)
    with running(decider) as (_, address), connect(address) as honest:
        honest.recv()
        asked(honest, **seen(now), **reachable(world))
        for number in range(22):
            with connect(address) as rude:
                rude.recv()
                began = time.monotonic()
                rude.send("noise")
                if number == 21:
                    asked(honest, **seen(now))
                    assert time.monotonic() - began < 0.4
                rude.recv(timeout=10)
                assert (time.monotonic() - began >= 0.5) == (number >= 19)


def test_any_bytes_end_in_a_sentence_or_an_answer_and_the_server_goes_on(
    world, decider, monkeypatch
):
    monkeypatch.setattr("armillary.serve.server._PAUSE_S", 0.0)
    monkeypatch.setattr("armillary.serve.server._LONG_PAUSE_S", 0.0)
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

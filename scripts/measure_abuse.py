"""Be rude to a policy server while an honest client plans through it: results/abuse.json.

    python scripts/measure_abuse.py MODEL [--minutes 10] [--record FILE]

The honest client asks for an action every tenth of a second, first alone and then during each kind
of abuse. The server has the first core for itself. Told are the client's median and 99th
percentile, what became of the abuse, how much memory the server took beyond what it had before, and
whether a client ever saw a traceback. Nothing is random but the fuzz, whose seed is fixed.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from measure_serving import TASK, WORLD, named, serving_process
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from armillary.benchmark.machine import core_count, provenance
from armillary.core.files import write_json
from armillary.evaluation import WorldFactory
from armillary.models import load_model
from armillary.serve import pack, unpack
from armillary.serve.codec import MAX_BYTES
from armillary.zoo.finding import find_model

KEY = "an honest client's key"
HONEST = {"Authorization": f"Api-Key {KEY}"}
EVERY_S = 0.1
SECONDS = 30.0  # of each kind but the fuzz
FUZZERS = 2
OTHERS = 7  # clients beside the honest one
SENT = ("oversized", "largest", "odd_values", "malformed_frames", "wrong_keys")
KEPT = {"slow_clients": 200, "half_open": 200, "slow_readers": OTHERS}


class Honest:
    """The honest client, in a process of its own, so that the abuse does not slow down its clock.

    Args:
        port: of the server.
        request: file with the request that it sends again and again.
    """

    def __init__(self, port: int, request: Path) -> None:
        words = [sys.executable, __file__, str(request), "--honest", str(port)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)

    def told(self) -> dict[str, Any]:
        """Return its times since it was last asked, and what went wrong."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("tell\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def stop(self) -> None:
        """End."""
        self.process.kill()
        self.process.wait()


def honest(port: int, data: bytes) -> None:
    """Ask at a fixed rate, and tell of it on a line whenever a line comes."""
    ms: list[float] = []
    failures: list[str] = []

    def tell() -> None:
        for _ in sys.stdin:
            told, ms[:] = list(ms), []
            sys.stdout.write(json.dumps({"ms": told, "failures": failures}) + "\n")
            sys.stdout.flush()

    with suppress(OSError):
        os.nice(-10)  # the machine is shared with the abuse
    threading.Thread(target=tell, daemon=True).start()
    with joined(port) as client:
        due = time.monotonic()
        while True:
            began = time.perf_counter()
            client.send(data)
            reply = client.recv(timeout=60)
            ms.append(1000 * (time.perf_counter() - began))
            if isinstance(reply, str) or unpack(reply)["actions"].shape != (1, 2):
                failures.append(str(reply)[:200])
                return
            due = max(due + EVERY_S, time.monotonic())
            time.sleep(max(due - time.monotonic(), 0))


@dataclass
class Memory:
    """The resident memory of a process, looked at ten times a second.

    Attributes:
        pid: of the process.
        most_bytes: since it was last forgotten.
    """

    pid: int
    most_bytes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def now(self) -> int:
        """Return the bytes that it has."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def run(self) -> None:
        """Look until the end."""
        while not self._stop.wait(0.1):
            self.most_bytes = max(self.most_bytes, self.now())

    def stop(self) -> None:
        """End."""
        self._stop.set()


@contextmanager
def joined(port: int) -> Iterator[ClientConnection]:
    """A connection with the right key, after its metadata."""
    address = f"ws://127.0.0.1:{port}"
    with connect(address, additional_headers=HONEST, max_size=None) as client:
        client.recv(timeout=60)
        yield client


class Abuse:
    """All that is done to a server; each method does one kind once, and counts how it ended.

    Args:
        port: of the server.
        whole: a request that the server answers.
        rng: chance of the fuzz.
    """

    def __init__(self, port: int, whole: Mapping[str, Any], rng: random.Random) -> None:
        self.port, self.whole, self.rng = port, dict(whole), rng
        self.endings: Counter[str] = Counter()
        self.tracebacks = 0

    def sent(self, message: bytes | str) -> None:
        """Send one message on a new connection, and count how it ended."""
        try:
            with joined(self.port) as client:
                client.send(message)
                self._count(client.recv(timeout=30))
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else 1006
            self.endings[f"closed {code}"] += 1
        except (InvalidHandshake, OSError, EOFError) as error:
            self.endings[type(error).__name__] += 1

    def oversized(self) -> None:
        """Send more than is read."""
        self.sent(bytes(MAX_BYTES + 1))

    def largest(self) -> None:
        """Send the largest pictures that are read, all other clients at once, four times each."""
        side = int((MAX_BYTES / 2 - len(pack(self.whole))) ** 0.5 / 3**0.5)
        picture = np.zeros((side, side, 3), np.uint8)
        data = pack(self.whole | {"observation/rgb": picture, "goal/rgb": picture})

        def rude() -> None:
            with (
                suppress(ConnectionClosed, InvalidStatus, OSError, EOFError),
                joined(self.port) as one,
            ):
                for _ in range(4):
                    one.send(data)
                for _ in range(4):
                    self._count(one.recv(timeout=120))

        together([rude] * OTHERS)

    def odd_values(self) -> None:
        """Send values of wrong types, shapes and byte orders."""
        picture = np.zeros((64, 64, 3), np.uint8)
        entry = {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "|O", b"shape": [1]}
        odd: list[Any] = [
            picture.astype(np.float64),
            picture.astype(">u2"),
            picture[..., 0],
            np.zeros((0, 0, 3), np.uint8),
            np.zeros((1, 60_000, 3), np.uint8),
            {**entry},
            {**entry, b"dtype": "V8"},
            {**entry, b"dtype": "<i8,<i8"},
            {**entry, b"dtype": ">u1", b"shape": [2, 2, 2]},
            {**entry, b"dtype": "<f8", b"shape": [1 << 62]},
            {**entry, b"dtype": "<f8", b"shape": [-1]},
            {**entry, b"dtype": "<f8", b"shape": [1] * 60},
            {**entry, b"dtype": "()" * 5000},
            [[[[[[[[[[[0]]]]]]]]]]],
            "picture",
            None,
            float("nan"),
        ]
        for value in odd:
            self.sent(bytes(msgpack.packb({"observation/image": value}, default=_plain) or b""))
            self.sent(pack(self.whole | {"observation/image": value}) if _packs(value) else b"")

    def malformed_frames(self) -> None:
        """Send what is no websocket frame, after the handshake and in its place."""
        header = struct.Struct(">BB")
        frames = {
            "reserved bits": header.pack(0xF2, 0x80) + b"\0" * 4,
            "not masked": header.pack(0x82, 0x01) + b"a",
            "unknown opcode": header.pack(0x8B, 0x80) + b"\0" * 4,
            "a ping of 126 bytes": header.pack(0x89, 0xFE) + struct.pack(">H", 126) + b"\0" * 130,
            "a frame of 2**63 bytes": header.pack(0x82, 0xFF) + struct.pack(">Q", 1 << 63),
            "a frame of 2**40 bytes": header.pack(0x82, 0xFF)
            + struct.pack(">Q", 1 << 40)
            + b"\0" * 4,
            "text that is no UTF-8": header.pack(0x81, 0x81) + b"\0\0\0\0\xff",
            "a fragment without a start": header.pack(0x80, 0x80) + b"\0" * 4,
            "noise": self.rng.randbytes(400),
        }
        for frame in frames.values():
            with suppress(OSError), self._raw() as raw:
                raw.sendall(frame)
                raw.settimeout(10)
                said = raw.recv(65536)
                self._looked_at(said)
                self.endings["closed by the server" if said[:1] in (b"\x88", b"") else "open"] += 1
        for line in (
            b"GET / HTTP/9\r\n\r\n",
            b"\0" * 10_000,
            b"A" * 70_000,
            b"POST / HTTP/1.1\r\n\r\n",
        ):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as raw:
                raw.sendall(line)
                raw.settimeout(15)
                self._looked_at(raw.recv(65536))
                self.endings["no handshake"] += 1

    def wrong_keys(self) -> None:
        """Come with keys that are not the key."""
        for value in (KEY + "x", KEY[:-1], "", "\u00e9" * 20, "k" * 5000):
            headers = {"Authorization": f"Api-Key {value}"}
            try:
                with connect(f"ws://127.0.0.1:{self.port}", additional_headers=headers):
                    self.endings["let in"] += 1
            except InvalidStatus as error:
                self.endings[f"HTTP {error.response.status_code}"] += 1
            except (InvalidHandshake, OSError, EOFError, UnicodeError) as error:
                self.endings[type(error).__name__] += 1

    def fuzz(self) -> None:
        """Send a request with some bytes changed, cut off or doubled."""
        data = bytearray(pack(self.whole))
        way = self.rng.randrange(4)
        if way == 0:
            for _ in range(self.rng.randint(1, 8)):
                data[self.rng.randrange(min(len(data), 400))] = self.rng.randrange(256)
        elif way == 1:
            del data[self.rng.randrange(len(data)) :]
        elif way == 2:
            start = self.rng.randrange(len(data))
            data[start:start] = data[start : start + self.rng.randrange(1, 2000)]
        else:
            data = bytearray(self.rng.randbytes(self.rng.randrange(1, 5000)))
        self.sent(bytes(data))
        if self.rng.random() < 0.1:
            with suppress(OSError), self._raw() as raw:
                raw.sendall(self.rng.randbytes(self.rng.randrange(1, 3000)))
                self.endings["raw noise"] += 1

    @contextmanager
    def slow_clients(self, count: int) -> Iterator[None]:
        """Keep connections that send a byte a second: in the handshake, or inside a message."""
        stop, sockets = threading.Event(), []
        for number in range(count):
            raw = socket.create_connection(("127.0.0.1", self.port))
            sockets.append(raw)
            if number % 2:
                raw.sendall(self._handshake() + struct.pack(">BBH", 0x82, 0xFE, 60_000) + b"\0" * 4)

        def drip() -> None:
            while not stop.wait(1.0):
                for raw in sockets:
                    with suppress(OSError):
                        raw.sendall(b"G")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            yield
        finally:
            stop.set()
            dripping.join()
            self.endings["slow clients"] += count
            for raw in sockets:
                raw.close()

    @contextmanager
    def half_open(self, count: int) -> Iterator[None]:
        """Keep connections that shook hands and never say or read anything again."""
        with ExitStack() as stack:
            for _ in range(count):
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", self.port)))
                raw.sendall(self._handshake())
            self.endings["half-open"] += count
            yield

    @contextmanager
    def slow_readers(self, count: int) -> Iterator[None]:
        """Keep clients that ask and never read the answers."""
        with ExitStack() as stack:
            data = pack(self.whole)
            head = struct.pack(">BBQ", 0x82, 0xFF, len(data)) + b"\0" * 4
            for _ in range(count):
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", self.port)))
                raw.sendall(self._handshake())
                raw.settimeout(0.2)
                for _ in range(2):
                    with suppress(OSError):
                        raw.sendall(head + data)
            self.endings["slow readers"] += count
            yield

    def _handshake(self) -> bytes:
        key = base64.b64encode(self.rng.randbytes(16)).decode()
        lines = (
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: {HONEST['Authorization']}\r\n\r\n"
        )
        return lines.encode()

    @contextmanager
    def _raw(self) -> Iterator[socket.socket]:
        """A connection after its handshake and the metadata."""
        with socket.create_connection(("127.0.0.1", self.port)) as raw:
            raw.settimeout(10)
            raw.sendall(self._handshake())
            said = b""
            while b"armillary/1" not in said and (more := raw.recv(65536)):
                said += more
            time.sleep(0.02)
            with suppress(OSError):
                raw.setblocking(False)
                raw.recv(65536)
            raw.setblocking(True)
            yield raw

    def _count(self, reply: str | bytes) -> None:
        self._looked_at(reply.encode() if isinstance(reply, str) else reply)
        self.endings["a sentence" if isinstance(reply, str) else "answered"] += 1

    def _looked_at(self, said: bytes) -> None:
        self.tracebacks += b"Traceback" in said or b'.py"' in said


def together(tasks: list[Callable[[], None]]) -> None:
    """Run tasks in threads, and wait for all."""
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measured(model: Path, minutes: float, only_fuzz: bool) -> dict[str, Any]:
    """Return what each kind of abuse did."""
    size = load_model(find_model(model)).config.encoder.image_size
    world = WorldFactory(WORLD, {"image_size": size})()
    request = named("observation", world.reset(3))
    goal = named("goal", world.draw_goal(TASK, np.random.default_rng(3)).observation)
    world.close()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        key = Path(folder) / "key"
        key.write_text(KEY)
        log = Path(folder) / "log.jsonl"
        flags = ("--key-file", str(key), "--log", str(log))
        port, pid = stack.enter_context(serving_process(model, *flags))
        os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))})
        file = Path(folder) / "request"
        # a goal with each request begins an episode, so every decision is a search
        file.write_bytes(pack(request | goal | {"steps": 24}))
        client, memory = Honest(port, file), Memory(pid)
        looking = threading.Thread(target=memory.run)
        looking.start()
        stack.callback(looking.join)
        stack.callback(memory.stop)
        stack.callback(client.stop)
        time.sleep(10)  # warm
        before = memory.now()
        rows: dict[str, Any] = {}
        failures: list[str] = []

        def row(name: str, work: Callable[[Abuse], None]) -> None:
            abuse = Abuse(port, request | goal, random.Random(len(rows)))
            client.told()
            memory.most_bytes = 0
            began = time.monotonic()
            work(abuse)
            said = client.told()
            told = np.array(said["ms"])
            failures.extend(said["failures"])
            rows[name] = {
                "seconds": round(time.monotonic() - began, 1),
                "endings": dict(sorted(abuse.endings.items())),
                "tracebacks_seen": abuse.tracebacks,
                "honest_decisions": len(told),
                "honest_ms": {str(q): round(float(np.quantile(told, q)), 1) for q in (0.5, 0.99)},
                "memory_growth_mb": round((memory.most_bytes - before) / 1e6, 1),
                "healthy": healthy(port),
            }
            sys.stderr.write(f"{name}: {rows[name]}\n")

        row("alone", lambda abuse: time.sleep(2 * SECONDS))
        for name in (
            ()
            if only_fuzz
            else ("oversized", "largest", "odd_values", "malformed_frames", "wrong_keys")
        ):
            row(name, lambda abuse, name=name: repeated(getattr(abuse, name), SECONDS))
        for name, count in (
            ()
            if only_fuzz
            else (("slow_clients", 200), ("half_open", 200), ("slow_readers", OTHERS))
        ):
            row(name, lambda abuse, n=name, c=count: held(getattr(abuse, n)(c), SECONDS))
        row("fuzz", lambda abuse: together([lambda: repeated(abuse.fuzz, 60 * minutes)] * FUZZERS))
        row("alone_again", lambda abuse: time.sleep(2 * SECONDS))
        metrics = said_of(port)
        logged = Counter(re.findall(r'"event": "(\w+)"', log.read_text()))
    return {
        "world": WORLD,
        "largest_message_bytes": MAX_BYTES,
        "rows": rows,
        "honest_failures": failures,
        "server": metrics,
        "log_lines": dict(sorted(logged.items())),
    }


def repeated(task: Callable[[], None], seconds: float) -> None:
    """Do a task again and again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        task()


def held(state: Any, seconds: float) -> None:
    """Keep a state for a while."""
    with state:
        time.sleep(seconds)


def healthy(port: int) -> bool:
    """Return whether the server says that it is."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
        return bool(answer.read() == b"OK\n")


def said_of(port: int) -> dict[str, float]:
    """Return the server's own counts."""
    asking = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=HONEST)
    with urllib.request.urlopen(asking, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.partition(" ") for line in lines if line[0] != "#")
    }


def _packs(value: Any) -> bool:
    return isinstance(value, np.ndarray | str | float)


def _plain(value: Any) -> Any:
    return {
        b"__ndarray__": True,
        b"data": value.tobytes(),
        b"dtype": value.dtype.str,
        b"shape": value.shape,
    }


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--honest", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=float, default=10.0, help="of fuzz")
    parser.add_argument("--only-fuzz", action="store_true", help="leave the other kinds out")
    parser.add_argument("--record", type=Path, default=Path("results/abuse.json"))
    chosen = parser.parse_args()
    if chosen.honest is not None:
        honest(chosen.honest, chosen.model.read_bytes())
        return
    value = measured(chosen.model, chosen.minutes, chosen.only_fuzz)
    write_json(chosen.record, value | provenance(" ".join(["python", *sys.argv]), core_count()))


if __name__ == "__main__":
    main()

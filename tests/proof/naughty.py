"""A policy process that behaves until it does not. Run as: naughty.py ROOT MODE.

It speaks the wire protocol with its own hands, so that it can also break it. In episodes with an
odd seed, at step 2, it does what its mode says.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, sys.argv[1])

from armillary.proof.lockdown import Limits, enforced, isolate, lock

if __name__ == "__main__":
    isolate()

import numpy as np

from armillary.proof.wire import PREFIX, ClosedError, Message, encode, read_message

MODE = sys.argv[2]
WHEN = 2


def send(message: Message) -> None:
    raw(encode(message))


def raw(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def receive() -> Message:
    return read_message(lambda count: os.read(0, count), 1 << 26)


def hang() -> None:
    time.sleep(1000)


def spin() -> None:
    while True:
        pass


def trickle() -> None:
    while True:
        raw(b"a")
        time.sleep(0.3)


def flood() -> None:
    while True:
        raw(bytes(1 << 20))


def announce() -> None:
    raw(PREFIX.pack(b"arw1", 10, 1 << 60))
    time.sleep(1000)


def deep() -> None:
    head = b"[" * 60_000
    raw(PREFIX.pack(b"arw1", len(head), 0) + head)


def twice() -> None:
    answer = encode(Message("acted", {"looks": True, "decision": None}, {"action": np.zeros(2)}))
    raw(answer + answer)


def lying() -> None:
    decision = {"step": WHEN, "model_steps": -5, "cost": 0.0, "carry": []}
    fields = {"looks": True, "decision": decision}
    send(Message("acted", fields, {"action": np.zeros(2)}))


def nan() -> None:
    send(Message("acted", {"looks": True, "decision": None}, {"action": np.full(2, np.nan)}))


MISDEEDS = {
    "hang": hang,
    "spin": spin,
    "trickle": trickle,
    "flood": flood,
    "announce": announce,
    "deep": deep,
    "twice": twice,
    "lying": lying,
    "nan": nan,
    "memory": lambda: bytearray(1 << 30),
    "silent exit": lambda: os._exit(0),
    "exit": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "garbage": lambda: raw(b"\x93NUMPY" + bytes(range(256))),
    "pickle": lambda: raw(b"\x80\x04cos\nsystem\n" + bytes(100)),
    "file": lambda: open("/etc/passwd"),  # noqa: SIM115, PTH123
    "write": lambda: open("/tmp/armillary-naughty", "w"),  # noqa: SIM115, PTH123
    "list": lambda: os.listdir("/"),  # noqa: PTH208
    "stat": lambda: os.stat("/etc/passwd"),  # noqa: PTH116
    "memory file": lambda: os.memfd_create("x"),
    "socket": lambda: socket.socket().connect(("127.0.0.1", int(sys.argv[3]))),
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "fork": os.fork,
    "exec": lambda: os.execv(sys.executable, [sys.executable]),
    "run": lambda: subprocess.run(["/bin/true"], check=False),
    "kill": lambda: os.kill(os.getppid(), signal.SIGTERM),
    "environment": lambda: (_ for _ in ()).throw(ValueError(" ".join(sorted(os.environ)))),
}


def answer(asked: Message, seed: int, step: int, low: np.ndarray) -> None:
    if MODE in MISDEEDS and seed % 2 and step == WHEN:
        MISDEEDS[MODE]()
        if MODE in ("twice", "lying", "nan", "deep", "garbage", "pickle"):
            return
    # an action that shows what was seen
    seen = float(asked.arrays["rgb"].mean()) / 255
    send(Message("acted", {"looks": True, "decision": None}, {"action": low * seen}))


def main() -> None:
    if MODE == "stillborn":
        os._exit(4)
    if MODE == "speechless":
        time.sleep(1000)
    setup = receive()
    limits = Limits(**setup.fields["limits"])
    if MODE != "unlocked":
        lock(limits)
    observes = ["rgb", "state"] if MODE == "peeping" else ["rgb"]
    send(Message("ready", {"observes": observes, "enforced": list(enforced(limits))}))
    seed = step = 0
    while True:
        asked = receive()
        try:
            if asked.kind == "begin":
                seed, step = asked.fields["seed"], 0
                send(Message("begun", {"looks": True}))
            else:
                answer(asked, seed, step, setup.arrays["low"])
                step += 1
        except Exception as error:
            send(Message("failed", {"sentence": f"{type(error).__name__}: {error}\n\x1b[31m"}))


if __name__ == "__main__":
    try:
        main()
    except ClosedError:
        sys.exit(0)

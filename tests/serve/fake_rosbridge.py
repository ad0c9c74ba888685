"""A rosbridge server without ROS, which can lose messages as the real one does.

The real one reads in one thread and passes on in another. When a client leaves, what was read and
not passed on is thrown away (rosbridge_suite 2.1.0, ``websocket_handler.IncomingQueue.finish``).
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import cv2
import numpy as np
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from armillary.serve.rosbridge import Rosbridge

HANG_UP = object()  # an answer: the server goes away
Answer = Callable[[dict], list[Any]]


class Server:
    """What a fake server noted.

    Attributes:
        address: where it listens.
        heard: messages that it has passed on, in their order.
        connections: how many clients there were.
    """

    def __init__(self, answer: Answer, slow_s: float | None) -> None:
        self.address, self.heard, self.connections = "", [], 0
        self._answer, self._slow_s = answer, slow_s

    async def talk(self, socket: Any) -> None:
        self.connections += 1
        queue: asyncio.Queue[str] = asyncio.Queue()
        worker = asyncio.create_task(self._work(socket, queue))
        with suppress(ConnectionClosed):
            async for text in socket:
                if self._slow_s is None:
                    await self._pass_on(socket, text)
                else:
                    queue.put_nowait(text)
        worker.cancel()

    async def _work(self, socket: Any, queue: asyncio.Queue[str]) -> None:
        while True:
            text = await queue.get()
            await asyncio.sleep(self._slow_s or 0)
            await self._pass_on(socket, text)

    async def _pass_on(self, socket: Any, text: str) -> None:
        said = json.loads(text)
        self.heard.append(said)
        for reply in self._answer(said):
            if reply is HANG_UP:
                socket.transport.abort()
                return
            with suppress(ConnectionClosed):  # what was sent before is still to be read
                await socket.send(json.dumps(reply))


@contextmanager
def fake_rosbridge(answer: Answer, slow_s: float | None = None) -> Iterator[Server]:
    """Serve on a free port.

    Args:
        answer: what is sent after a message.
        slow_s: between the reading of a message and its passing on, which are then two tasks; None
            for one task, which loses nothing.
    """
    server, loop, ready = Server(answer, slow_s), asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def work() -> None:
        async with serve(server.talk, "127.0.0.1", 0) as listening:
            server.address = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(work(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


def no_such_service(said: dict) -> list[dict]:
    """Answer a service call as rosbridge does where nothing offers the service."""
    if said["op"] != "call_service":
        return []
    name = said["service"]
    reply = {"op": "service_response", "service": name, "values": f"Service {name} does not exist"}
    return [{**reply, "result": False, "id": said["id"]}]


def showing(pictures: list[np.ndarray], topic: str) -> Answer:
    """Return answers that show the next picture after the subscription and every action."""
    left = list(pictures)

    def answer(said: dict) -> list[dict]:
        if said["op"] not in ("subscribe", "publish") or not left:
            return no_such_service(said)
        png = cv2.imencode(".png", left.pop(0)[..., ::-1])[1].tobytes()
        message = {"header": {}, "format": "png", "data": base64.b64encode(png).decode()}
        return [{"op": "publish", "topic": topic, "msg": message}]

    return answer


class InStep(Rosbridge):
    """A connection that waits for the picture after its last action.

    What a drive does then depends on the messages alone, and not on how fast a machine is.
    """

    _sent_at_s = 0.0

    def latest(self) -> Any:
        end_s = time.monotonic() + 20
        while time.monotonic() < end_s:
            now_s, seen = time.monotonic(), super().latest()
            if "rgb" in seen and now_s - seen["rgb"][1] > self._sent_at_s:
                return seen
            time.sleep(0.002)
        return {}

    def send(self, action: np.ndarray) -> None:
        self._sent_at_s = time.monotonic()
        super().send(action)

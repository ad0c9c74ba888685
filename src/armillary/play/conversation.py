"""Conversation: one page, from its greeting to its end.

    {"type": "hello", "key": ...}                 the first message, with the key or without
    {"type": "begun" | "wait" | "refused" | "full" | "key", ...}    what the page gets

Between them come the messages of ``controls.py``, and go the frames of ``frames.py``. At most a few
frames are on their way: the page says which it has shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from armillary.core.errors import ArmillaryError, ConfigError, FormatError
from armillary.play.controls import Controls, read_message
from armillary.play.drives import Drives
from armillary.play.frames import pack_frame
from armillary.play.session import Session
from armillary.play.showing import ramps

_SEND_S, _HELLO_S = 10, 60
_AHEAD = 3  # frames that were sent and not shown yet
_IDLE_S = 300.0
_MOST_REFUSED = 50

log = logging.getLogger("armillary.play")


class Conversation:
    """One page: what it chose, and the frames that it gets.

    Args:
        drives: steps.
        connection: to the page.
    """

    def __init__(self, drives: Drives, connection: ServerConnection) -> None:
        self._drives, self._connection = drives, connection
        self._controls = Controls(())
        self._events: deque[dict[str, Any]] = deque(maxlen=64)
        self._woken = asyncio.Event()
        self._heard_s = time.monotonic()
        self._sent = self._shown = self._refused = 0
        self._changed = False

    async def hold(self) -> None:
        """Greet, drive, and give back what was held."""
        async with asyncio.timeout(_HELLO_S):
            first = await self._connection.recv()
        drives = self._drives
        if not drives.config.has_key(first):
            drives.counts["refused_key"] += 1
            await self._end(1008, "key", "That is not the key of this server.")
            return
        if drives.driving >= drives.config.sessions:
            drives.counts["refused_full"] += 1
            count = drives.config.sessions
            who = "Another page is driving" if count == 1 else f"{count} other pages are driving"
            await self._end(1013, "full", f"{who}. This one waits for its turn.")
            return
        drives.driving += 1
        drives.counts["sessions"] += 1
        session: Session | None = None
        try:
            await self._say("wait", sentence="Opening.")
            session = await drives.run(drives.opening.session)
            await self._drive(session)
        except ArmillaryError as error:
            await self._end(1011, "refused", str(error))
        except (ConnectionClosed, TimeoutError, asyncio.CancelledError):
            raise
        except Exception:  # whatever breaks costs this page alone
            log.exception("a drive failed")
            await self._end(1011, "refused", "The server failed on this; see its log.")
        finally:
            drives.driving -= 1
            if session is not None:
                await drives.run(session.close)

    async def _drive(self, session: Session) -> None:
        config = self._drives.config
        self._controls = replace(session.controls(), hz=config.hz)
        hearing = asyncio.create_task(self._hear())
        try:
            await self._begin(session, config.seed)
            await self._go_on(session, hearing)
        finally:
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await hearing

    async def _go_on(self, session: Session, hearing: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not hearing.done():
            await self._until(due)
            stepped = await self._answer_events(session)
            self._rest_if_idle()
            controls, changed = self._controls, self._changed
            if self._sent - self._shown >= _AHEAD:
                await self._until(loop.time() + 0.1)
            elif controls.paused and not changed and not stepped:
                await self._until(loop.time() + 1.0)
            elif controls.paused and not stepped:
                self._changed = False
                await self._show(session.frame, controls)
            elif stepped or loop.time() >= due:
                self._changed = False
                due = max(due + 1 / controls.hz, loop.time())
                await self._show(session.step, controls)

    async def _until(self, when: float) -> None:
        """Wait until a time of the loop, or until something is heard."""
        left = when - asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(left, 0.0)):
                await self._woken.wait()
        self._woken.clear()

    async def _answer_events(self, session: Session) -> bool:
        """Do what was asked for; return whether a step was."""
        stepped = False
        while self._events:
            event = self._events.popleft()
            if event["type"] == "reset":
                await self._begin(session, event.get("seed", self._drives.config.seed))
            elif event["type"] == "step":
                stepped = True
            else:
                await self._drives.run(getattr(session, event["type"]))
                self._changed = True
        return stepped

    async def _begin(self, session: Session, seed: int) -> None:
        """Begin a scene, and tell how far that is."""
        where = {"done": 0, "total": 0}

        def progress(done: int, total: int, note: str = "") -> None:
            if self._drives.stopping.is_set():
                raise ConfigError("The server stops.")
            where.update(done=done, total=total)

        work = asyncio.ensure_future(self._drives.run(session.begin, seed, progress))
        while not (await asyncio.wait([work], timeout=0.25))[0]:
            await self._say("wait", sentence="Taking pictures of this scene.", **where)
        begun = await work
        self._controls = replace(self._controls, goal=None, follow=False)
        about = session.about
        await self._say(
            "begun",
            **self._drives.opening.title,
            **begun,
            name=about.name,
            low=about.bounds.low.tolist(),
            high=about.bounds.high.tolist(),
            discrete=about.discrete,
            step_s=about.step_s,
            size=session.model.config.encoder.image_size,
            hz=self._controls.hz,
            mode=self._controls.mode,
            sensor=self._controls.sensor,
            ramps=ramps(),
        )
        await self._show(session.frame, self._controls)

    async def _show(self, look: Callable[[Controls], Any], controls: Controls) -> None:
        def made() -> bytes:
            began = time.perf_counter()
            frame = look(controls)
            ms = round(1000 * (time.perf_counter() - began), 1)
            return pack_frame(frame, {"frame": self._sent + 1, "ms": ms, "paused": controls.paused})

        data = await self._drives.run(made)
        self._sent += 1
        self._drives.counts["frames"] += 1
        async with asyncio.timeout(_SEND_S):
            await self._connection.send(data)

    async def _hear(self) -> None:
        """Read messages; each is checked, and one that is unknown gets a sentence."""
        async for text in self._connection:
            try:
                controls, event = read_message(text, self._controls)
            except FormatError as error:
                await self._refuse(str(error))
                continue
            if event is not None and event["type"] == "shown":
                self._shown = min(max(self._shown, event["frame"]), self._sent)
                self._woken.set()
                continue
            self._heard_s = time.monotonic()
            self._changed |= controls != self._controls
            self._controls = controls
            if event is not None:
                self._events.append(event)
            if event is not None or controls.paused:
                self._woken.set()

    async def _refuse(self, sentence: str) -> None:
        self._refused += 1
        self._drives.counts["refused_messages"] += 1
        if self._refused > _MOST_REFUSED:
            await self._end(1008, "refused", "Too many messages could not be read.")
        else:
            await self._say("refused", sentence=sentence)

    def _rest_if_idle(self) -> None:
        """Stand still where nobody has done anything for minutes."""
        if time.monotonic() - self._heard_s > _IDLE_S and not self._controls.paused:
            self._controls = replace(self._controls, paused=True)
            self._changed = True

    async def _say(self, what: str, **facts: Any) -> None:
        async with asyncio.timeout(_SEND_S):
            await self._connection.send(json.dumps({"type": what, **facts}, allow_nan=False))

    async def _end(self, code: int, kind: str, sentence: str) -> None:
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            await self._say(kind, sentence=sentence)
            await self._connection.close(code, kind)

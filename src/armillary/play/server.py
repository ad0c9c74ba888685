"""Server: the page and its websocket. One thread steps all sessions.

    GET /, /play.css, /play.js, ...   the page; nothing else is read from the disk
    GET /healthz                  200 OK
    /session                      a websocket: ``controls.py`` in, ``frames.py`` and JSON out

    {"type": "hello", "key": ...}                 the first message, with the key or without
    {"type": "begun" | "wait" | "refused" | "full" | "idle", ...}    what the page is told

Only pages of this server may talk to it: ``Origin`` must name it, and without a key so must
``Host``, since any name can be made to point to 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from armillary.core.errors import ArmillaryError, ConfigError, FormatError, StorageError
from armillary.core.listening import LOOPBACK, check_address
from armillary.play.controls import MAX_BYTES, Controls, read_message
from armillary.play.frames import pack_frame
from armillary.play.opening import Opening
from armillary.play.session import Session

T = TypeVar("T")

_PAGE = Path(__file__).parent / "page"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/play.css": ("play.css", "text/css; charset=utf-8"),
    "/play.js": ("play.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_OPEN_S, _SEND_S, _CLOSE_S, _HELLO_S = 10, 10, 3, 60
_AHEAD = 3  # frames that were sent and not shown yet
_IDLE_S = 300.0
_MOST_REFUSED = 50
_MOST_WAITING = 32  # connections that were admitted and have no session

log = logging.getLogger("armillary.play")


@dataclass(frozen=True)
class PlayConfig:
    """Where the page is, and for whom.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        key: that a person must give; empty for nobody asked, on loopback alone.
        sessions: drives at a time; who comes later waits.
        seed: of the first scene.
        hz: model steps a second at the start.

    Raises:
        ConfigError: another address than loopback without a key, or numbers that cannot be.
    """

    host: str = "127.0.0.1"
    port: int = 8001
    key: str = field(default="", repr=False)
    sessions: int = 2
    seed: int = 0
    hz: float = 20.0

    def __post_init__(self) -> None:
        check_address(self.host, self.port, self.key, "drives here")
        if not 1 <= self.sessions <= 64:
            raise ConfigError(f"Sessions are 1 to 64; got {self.sessions}.")
        if not 0.5 <= self.hz <= 60:
            raise ConfigError(f"Steps a second are 0.5 to 60; got {self.hz:g}.")


@contextlib.asynccontextmanager
async def playing(opening: Opening, config: PlayConfig) -> AsyncIterator[PlayServer]:
    """Serve the page until the block ends.

    Raises:
        StorageError: the address is taken or not ours.
    """
    made = PlayServer(opening, config)
    try:
        listening = await serve(
            made.talk,
            config.host,
            config.port,
            process_request=made.admit,
            compression=None,
            max_size=MAX_BYTES,
            max_queue=16,
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
            server_header=None,
        )
    except OSError as error:
        made.close()
        raise StorageError(
            f"{config.host}:{config.port} cannot be listened on ({error.strerror or error}). "
            "Choose another --port."
        ) from error
    made.listening = listening
    try:
        yield made
    finally:
        made.stopping.set()
        listening.close()
        await listening.wait_closed()
        made.close()


class PlayServer:
    """Who drives, and the thread that steps.

    Args:
        opening: makes sessions.
        config: for whom.

    Attributes:
        listening: the server of ``websockets``, once it listens.
        stopping: set when all shall end.
        counts: of frames, sessions and refusals.
    """

    def __init__(self, opening: Opening, config: PlayConfig) -> None:
        self.opening, self.config = opening, config
        self.listening: Server | None = None
        self.stopping = threading.Event()
        self.counts: Counter[str] = Counter()
        self.driving = 0
        self.connected = 0
        # One thread, and always the same: what draws a world belongs to the thread that made it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="play")

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self.listening is not None
        return int(next(iter(self.listening.sockets)).getsockname()[1])

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do work in the thread that steps."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def close(self) -> None:
        """Let the thread go, after its present work."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain requests, and refuse other pages than our own."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if not self._is_our_host(request):
            return self._refuse(connection, "host", "Open the page by the address that was shown.")
        if path in _FILES:
            return _file(path)
        if path != "/session":
            return connection.respond(HTTPStatus.NOT_FOUND, "There is no such page.\n")
        if not _is_same_origin(request):
            return self._refuse(connection, "origin", "Only the page of this server may drive.")
        if self.connected >= self.config.sessions + _MOST_WAITING:
            self.counts["refused_full"] += 1
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections.\n")
        return None

    def _refuse(self, connection: ServerConnection, what: str, sentence: str) -> Response:
        self.counts[f"refused_{what}"] += 1
        return connection.respond(HTTPStatus.FORBIDDEN, f"{sentence}\n")

    def _is_our_host(self, request: Request) -> bool:
        if self.config.key:
            return True
        name = _host(request).rpartition(":")[0] or _host(request)
        return name.strip("[]") in LOOPBACK

    async def talk(self, connection: ServerConnection) -> None:
        """Talk with one page until it goes."""
        self.connected += 1
        try:
            await Conversation(self, connection).hold()
        except (ConnectionClosed, TimeoutError):
            self.counts["closed"] += 1
        finally:
            self.connected -= 1

    def has_key(self, text: str | bytes) -> bool:
        """Tell whether a first message has the key, where one is needed."""
        if not self.config.key:
            return True
        with contextlib.suppress(ValueError, RecursionError):
            given = json.loads(text)
            key = given.get("key") if isinstance(given, dict) else None
            if isinstance(key, str):
                return hmac.compare_digest(key.encode(), self.config.key.encode())
        return False


class Conversation:
    """One page: what it chose, and the frames that it gets.

    Args:
        server: steps.
        connection: to the page.
    """

    def __init__(self, server: PlayServer, connection: ServerConnection) -> None:
        self._server, self._connection = server, connection
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
        server = self._server
        if not server.has_key(first):
            server.counts["refused_key"] += 1
            await self._end(1008, "key", "That is not the key of this server.")
            return
        if server.driving >= server.config.sessions:
            server.counts["refused_full"] += 1
            count = server.config.sessions
            who = "Another page is driving" if count == 1 else f"{count} other pages are driving"
            await self._end(1013, "full", f"{who}. This one waits for its turn.")
            return
        server.driving += 1
        server.counts["sessions"] += 1
        session: Session | None = None
        try:
            await self._say("wait", sentence="Opening.")
            session = await server.run(server.opening.session)
            await self._drive(session)
        except ArmillaryError as error:
            await self._end(1011, "refused", str(error))
        except (ConnectionClosed, TimeoutError, asyncio.CancelledError):
            raise
        except Exception:  # whatever breaks costs this page alone
            log.exception("a drive failed")
            await self._end(1011, "refused", "The server failed on this; see its log.")
        finally:
            server.driving -= 1
            if session is not None:
                await server.run(session.close)

    async def _drive(self, session: Session) -> None:
        config = self._server.config
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
                await self._begin(session, event.get("seed", self._server.config.seed))
            elif event["type"] == "step":
                stepped = True
            else:
                await self._server.run(getattr(session, event["type"]))
                self._changed = True
        return stepped

    async def _begin(self, session: Session, seed: int) -> None:
        """Begin a scene, and tell how far that is."""
        where = {"done": 0, "total": 0}

        def progress(done: int, total: int, note: str = "") -> None:
            if self._server.stopping.is_set():
                raise ConfigError("The server stops.")
            where.update(done=done, total=total)

        work = asyncio.ensure_future(self._server.run(session.begin, seed, progress))
        while not (await asyncio.wait([work], timeout=0.25))[0]:
            await self._say("wait", sentence="Taking pictures of this scene.", **where)
        begun = await work
        self._controls = replace(self._controls, goal=None, follow=False)
        about = session.about
        await self._say(
            "begun",
            **self._server.opening.title,
            **begun,
            name=about.name,
            low=about.bounds.low.tolist(),
            high=about.bounds.high.tolist(),
            discrete=about.discrete,
            step_s=about.step_s,
            size=session.model.config.encoder.image_size,
            hz=self._controls.hz,
            mode=self._controls.mode,
        )
        await self._show(session.frame, self._controls)

    async def _show(self, look: Callable[[Controls], Any], controls: Controls) -> None:
        def made() -> bytes:
            began = time.perf_counter()
            frame = look(controls)
            ms = round(1000 * (time.perf_counter() - began), 1)
            return pack_frame(frame, {"frame": self._sent + 1, "ms": ms, "paused": controls.paused})

        data = await self._server.run(made)
        self._sent += 1
        self._server.counts["frames"] += 1
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
        self._server.counts["refused_messages"] += 1
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


def _file(path: str) -> Response:
    name, kind = _FILES[path]
    body = (_PAGE / name).read_bytes()
    headers = Headers({**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))})
    headers["Connection"] = "close"
    return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, headers, body)


def _host(request: Request) -> str:
    given = request.headers.get_all("Host")
    return given[0].lower() if len(given) == 1 else ""


def _is_same_origin(request: Request) -> bool:
    """Tell whether the page that asks came from here."""
    given = request.headers.get_all("Origin")
    schemes = ("http://", "https://")  # the latter behind a proxy
    return len(given) == 1 and given[0].lower() in [scheme + _host(request) for scheme in schemes]

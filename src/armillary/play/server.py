"""Server: the page and its websocket.

    GET /, /play.css, /play.js, ...   the page, and the report's script that draws points; nothing
                                  else is read from the disk
    GET /healthz                  200 OK
    /session                      a websocket: ``conversation.py``

Only pages of this server may talk to it: ``Origin`` must name it, and without a key so must
``Host``, since any name can be made to point to 127.0.0.1.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

from websockets.asyncio.server import Server, ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from armillary.play.controls import MAX_BYTES
from armillary.play.conversation import Conversation
from armillary.play.drives import Drives, PlayConfig
from armillary.play.opening import Opening
from armillary.report.html import CLOUD_SCRIPT, template_file
from armillary.serve.listening import LOOPBACK, listening_on, port_of

_PAGE = Path(__file__).parent / "page"
_FILES = {
    "/": (_PAGE / "index.html", "text/html; charset=utf-8"),
    "/play.css": (_PAGE / "play.css", "text/css; charset=utf-8"),
    "/play.js": (_PAGE / "play.js", "text/javascript; charset=utf-8"),
    "/cloud.js": (template_file(CLOUD_SCRIPT), "text/javascript; charset=utf-8"),
    "/icon.svg": (_PAGE / "icon.svg", "image/svg+xml"),
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
_QUEUED = 16  # messages of a page
_MOST_WAITING = 32  # connections that were admitted and have no session


@contextlib.asynccontextmanager
async def playing(opening: Opening, config: PlayConfig) -> AsyncIterator[PlayServer]:
    """Serve the page until the block ends.

    Raises:
        StorageError: the address is taken or not ours.
    """
    drives = Drives(opening, config)
    made = PlayServer(drives)
    where = listening_on(
        config.host, config.port, made.talk, made.admit, MAX_BYTES, most_waiting=_QUEUED
    )
    try:
        async with where as made.listening:
            try:
                yield made
            finally:
                drives.stopping.set()
    finally:
        drives.close()


class PlayServer:
    """The page, and who may open its websocket.

    Args:
        drives: of all pages.

    Attributes:
        listening: the server of ``websockets``, once it listens.
    """

    def __init__(self, drives: Drives) -> None:
        self.drives = drives
        self.listening: Server | None = None
        self._connected = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return port_of(self.listening)

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
        if self._connected >= self.drives.config.sessions + _MOST_WAITING:
            self.drives.counts["refused_full"] += 1
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections.\n")
        return None

    async def talk(self, connection: ServerConnection) -> None:
        """Talk with one page until it goes."""
        self._connected += 1
        try:
            await Conversation(self.drives, connection).hold()
        except (ConnectionClosed, TimeoutError):
            self.drives.counts["closed"] += 1
        finally:
            self._connected -= 1

    def _refuse(self, connection: ServerConnection, what: str, sentence: str) -> Response:
        self.drives.counts[f"refused_{what}"] += 1
        return connection.respond(HTTPStatus.FORBIDDEN, f"{sentence}\n")

    def _is_our_host(self, request: Request) -> bool:
        if self.drives.config.key:
            return True
        name = _host(request).rpartition(":")[0] or _host(request)
        return name.strip("[]") in LOOPBACK


def _file(path: str) -> Response:
    file, kind = _FILES[path]
    body = file.read_bytes()
    headers = Headers({**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))})
    headers["Connection"] = "close"
    return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, headers, body)


def _host(request: Request) -> str:
    given = request.headers.get_all("Host")
    return given[0].lower() if len(given) == 1 else ""


def _is_same_origin(request: Request) -> bool:
    """Return whether the page that asks is from here."""
    given = request.headers.get_all("Origin")
    schemes = ("http://", "https://")  # the latter behind a proxy
    return len(given) == 1 and given[0].lower() in [scheme + _host(request) for scheme in schemes]

"""Listening: a websocket server that listens as long as a block lasts."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from armillary.core.errors import StorageError

_OPEN_S, _CLOSE_S = 10, 3


@contextlib.asynccontextmanager
async def listening_on(
    host: str,
    port: int,
    talk: Callable[[ServerConnection], Awaitable[None]],
    admit: Callable[[ServerConnection, Request], Response | None],
    most_bytes: int,
    most_waiting: int,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    """Listen until the block ends; then clients are told, and may finish.

    Args:
        host: address.
        port: 0 takes a free one.
        talk: with one client, until it goes.
        admit: answers plain requests, and refuses clients; None lets one talk.
        most_bytes: of a message.
        most_waiting: messages of a client that are kept until they are read.
        tls: how connections are encrypted; None for not at all.

    Raises:
        StorageError: the address is taken or not ours.
    """
    try:
        server = await serve(
            talk,
            host,
            port,
            ssl=tls,
            process_request=admit,
            compression=None,
            max_size=most_bytes,
            max_queue=most_waiting,
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
            server_header=None,
        )
    except OSError as error:
        raise StorageError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}). "
            "Choose another --port."
        ) from error
    try:
        yield server
    finally:
        server.close()
        await server.wait_closed()


def port_of(server: Server | None) -> int:
    """Return the port where a server listens."""
    assert server is not None
    return int(next(iter(server.sockets)).getsockname()[1])

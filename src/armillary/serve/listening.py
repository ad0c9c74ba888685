"""Listening: for whom a server of ours may listen, and a websocket server that does."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from armillary.core.errors import ConfigError, StorageError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
LEAST_KEY = 16
_OPEN_S, _CLOSE_S = 10, 3


def check_address(host: str, port: int, key: str, harm: str) -> None:
    """Check where a server shall listen.

    Args:
        host: address.
        port: 0 takes a free one.
        key: that clients must show; empty for none.
        harm: what somebody without a key could do, as the end of "so that not everybody ...".

    Raises:
        ConfigError: an address that can be reached from outside without a key, a key that is
            short, or a port that cannot be.
    """
    if host not in LOOPBACK and not key:
        raise ConfigError(
            f"{host} can be reached from outside. Give --key-file, so that not everybody {harm}, "
            "or stay on 127.0.0.1."
        )
    if key and len(key) < LEAST_KEY:
        raise ConfigError(f"A key has at least {LEAST_KEY} characters; got {len(key)}.")
    if not 0 <= port < 1 << 16:
        raise ConfigError(f"A port is 0 to 65535; got {port}.")


@contextlib.asynccontextmanager
async def listening_on(
    host: str,
    port: int,
    talk: Callable[[ServerConnection], Awaitable[None]],
    admit: Callable[[ServerConnection, Request], Response | Awaitable[Response | None] | None],
    most_bytes: int,
    most_waiting: int,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    """Listen until the block ends; then clients get a notice, and may finish.

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

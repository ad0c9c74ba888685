"""Server: sessions over websockets, one planner for all, as ``openpi-client`` expects it.

A client gets the metadata when it connects. Then each binary message is a request, and gets one
answer. What is wrong with a request is stated in a text message, and the connection ends with 1011:
that is how openpi's clients read errors. Nobody but the server's own log sees a traceback.

    GET /healthz    200 OK
    GET /metrics    counts and times, for Prometheus

Memory is bounded: of each client one message is decided on and one waits, and messages are unpacked
one after another. What happens is logged as one JSON object a line.

Source: openpi 15a9616a, ``websocket_policy_server``; the tests run openpi-client 0.1.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import math
import ssl
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.server import Server, ServerConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.http11 import Request, Response

from armillary.core.errors import ArmillaryError, ConfigError, StorageError
from armillary.serve.codec import MAX_BYTES, pack, unpack
from armillary.serve.listening import check_address, listening_on, port_of
from armillary.serve.session import Decider, Session

_SEND_S = 10
# Who is refused waits before the answer, and longer where many are refused in a minute. Else
# somebody who sends noise all the while would plan whenever the noise is a request.
_PAUSE_S, _LONG_PAUSE_S = 0.25, 2.0
_MANY, _MANY_S = 20, 60.0
_SILENT_S = 60.0  # after which a client gives way to a new one, where there is no room
_QUEUED = 0  # requests of a client behind the one that is read: the next one waits in its socket
_KEPT_TIMES = 10_000
_BUSY = math.inf

log = logging.getLogger("armillary.serve")


@dataclass(frozen=True)
class ServerConfig:
    """Where a server listens, and for whom.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        key: that clients must show; empty for nobody asked, on loopback alone.
        clients: most at a time. A new one may take the place of one that was silent for a minute.
        most_hz: most decisions of a client in a second; 0 for no bound. Faster ones wait.
        certificate: of TLS, with its key in ``certificate_key``; None for none.
        certificate_key: file of the private key.

    Raises:
        ConfigError: another address than loopback without a key, or numbers that cannot be.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    key: str = field(default="", repr=False)
    clients: int = 8
    most_hz: float = 0.0
    certificate: Path | None = None
    certificate_key: Path | None = None

    def __post_init__(self) -> None:
        check_address(self.host, self.port, self.key, "moves the robot")
        if not 1 <= self.clients <= 1024:
            raise ConfigError(f"Clients are 1 to 1024; got {self.clients}.")
        if not 0 <= self.most_hz < math.inf:
            raise ConfigError(f"most_hz must be 0 or more; got {self.most_hz:g}.")

    def tls(self) -> ssl.SSLContext | None:
        """Return how connections are encrypted; None for not at all.

        Raises:
            StorageError: a file cannot be read, or is no certificate.
        """
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.certificate_key)
        except (OSError, ssl.SSLError) as error:
            raise StorageError(
                f"{self.certificate}: is no certificate with a key ({error})."
            ) from error
        return context


@contextlib.asynccontextmanager
async def serving(decider: Decider, config: ServerConfig) -> AsyncIterator[PolicyServer]:
    """Serve until the block ends; then clients get a notice, and may finish.

    Raises:
        StorageError: the address is taken or not ours, or the certificate cannot be read.
    """
    made = PolicyServer(decider, config)
    try:
        where = listening_on(
            config.host, config.port, made.talk, made.admit, MAX_BYTES, _QUEUED, config.tls()
        )
        async with where as made.listening:
            yield made
    finally:
        made.close()


class PolicyServer:
    """Counts, and the thread that decides.

    Args:
        decider: whose policy acts.
        config: for whom.

    Attributes:
        listening: the server of ``websockets``, once it listens.
        counts: of connections, decisions, refusals and errors.
        times_ms: of the last decisions, waiting included.
    """

    def __init__(self, decider: Decider, config: ServerConfig) -> None:
        self.decider, self.config = decider, config
        self.listening: Server | None = None
        self.counts: Counter[str] = Counter()
        self.times_ms: deque[float] = deque(maxlen=_KEPT_TIMES)
        self._active: dict[ServerConnection, float] = {}  # since when each is silent
        self._refused: deque[float] = deque(maxlen=_MANY)  # when
        self._leaving: set[asyncio.Task[None]] = set()
        self._planner = ThreadPoolExecutor(1, thread_name_prefix="planner")

    @property
    def port(self) -> int:
        """Where it listens."""
        return port_of(self.listening)

    def close(self) -> None:
        """Let the planner go, after its present decision."""
        self._planner.shutdown(wait=True, cancel_futures=True)

    async def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain requests, and refuse who has no key or comes too many."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if not self._has_key(request):
            self.counts["refused_key"] += 1
            await self._pause()
            return connection.respond(HTTPStatus.UNAUTHORIZED, "An API key is needed.\n")
        if request.path == "/metrics":
            return connection.respond(HTTPStatus.OK, self.metrics())
        if len(self._active) >= self.config.clients and not self._made_room():
            self.counts["refused_full"] += 1
            await asyncio.sleep(_PAUSE_S)  # nobody's fault, so it does not count
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many clients.\n")
        return None

    def _made_room(self) -> bool:
        """Close the connection that was silent for longest, if that is for long enough."""
        silent = min(self._active, key=lambda one: self._active[one])
        if time.monotonic() - self._active[silent] < _SILENT_S:
            return False
        del self._active[silent]
        self.counts["closed_silent"] += 1
        leaving = asyncio.ensure_future(silent.close(1001, "silent, and others wait"))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        return True

    async def _pause(self) -> None:
        """Let who is refused wait."""
        now = time.monotonic()
        self._refused.append(now)
        many = len(self._refused) == _MANY and now - self._refused[0] < _MANY_S
        await asyncio.sleep(_LONG_PAUSE_S if many else _PAUSE_S)

    def _has_key(self, request: Request) -> bool:
        if not self.config.key:
            return True
        given = request.headers.get_all("Authorization")
        wanted = f"Api-Key {self.config.key}".encode()
        return len(given) == 1 and hmac.compare_digest(given[0].encode(), wanted)

    async def talk(self, connection: ServerConnection) -> None:
        """Talk with one client until it goes, or sends what cannot be read."""
        self._active[connection] = time.monotonic()
        self.counts["connections"] += 1
        _note("connected", client=connection.id.hex)
        why = "gone"
        try:
            why = await self._talk(connection)
        except TimeoutError:
            why = "takes nothing"
            self.counts["closed"] += 1
        except ConnectionClosed:
            self.counts["closed"] += 1
        finally:
            self._active.pop(connection, None)
            _note("closed", client=connection.id.hex, why=why)

    async def _talk(self, connection: ServerConnection) -> str:
        """Answer requests; return why no more are."""
        session, loop, total_ms = Session(self.decider), asyncio.get_running_loop(), None
        stopped, earliest = False, 0.0
        await _send(connection, pack(self.decider.metadata()))
        while True:
            try:
                message = await connection.recv()
            except ConnectionClosedOK:
                return "gone"
            began = time.perf_counter()
            self._active[connection] = _BUSY
            if began < earliest:
                await asyncio.sleep(earliest - began)
                began = time.perf_counter()
            earliest = began + 1 / self.config.most_hz if self.config.most_hz else 0.0
            held = [message]
            del message  # the planner thread frees it once it is unpacked
            try:
                reply = await loop.run_in_executor(self._planner, _decide, session, held, began)
            except ArmillaryError as error:
                await self._refuse(connection, str(error))
                return "refused"
            except Exception:  # whatever a model or a request breaks costs this client alone
                log.exception("a decision failed")
                await self._refuse(connection, "The server failed on this request; see its log.")
                return "failed"
            self._active[connection] = time.monotonic()
            timing = {"infer_ms": reply["policy_timing"]["infer_ms"]}
            timing |= {} if total_ms is None else {"prev_total_ms": total_ms}
            self.counts["decisions"] += 1
            self.counts["cut_short"] += bool(reply["plan"]["cut_short"])
            self.counts["deadlines_missed"] += bool(reply["plan"]["deadline_missed"])
            stops = bool(reply["stop"][0])
            self.counts["stops"] += stops
            if stops and not stopped:
                plan = reply["plan"]
                _note(
                    "stop", client=connection.id.hex, reason=plan["alarm"], step=plan["alarm_step"]
                )
            stopped = stops
            await _send(connection, pack({**reply, "server_timing": timing}))
            total_ms = 1000 * (time.perf_counter() - began)
            self.times_ms.append(total_ms)

    async def _refuse(self, connection: ServerConnection, sentence: str) -> None:
        self.counts["refused_requests"] += 1
        _note("refused", client=connection.id.hex, why=sentence)
        await self._pause()
        await _send(connection, sentence)
        await connection.close(1011, "the request could not be answered")

    def metrics(self) -> str:
        """Return counts and times in Prometheus's text format."""
        lines = []
        for name in sorted({*self.counts, "decisions"}):
            full = f"armillary_{name}_total"
            lines += [f"# TYPE {full} counter", f"{full} {self.counts[name]}"]
        lines += ["# TYPE armillary_clients gauge", f"armillary_clients {len(self._active)}"]
        if self.times_ms:
            lines.append("# TYPE armillary_decision_ms summary")
            times = np.array(self.times_ms)
            for share in (0.5, 0.95, 0.99):
                value = float(np.quantile(times, share))
                lines.append(f'armillary_decision_ms{{quantile="{share}"}} {value:.3f}')
            lines.append(f"armillary_decision_ms_count {len(times)}")
        return "\n".join(lines) + "\n"


def _decide(session: Session, held: list[str | bytes], began: float) -> dict[str, Any]:
    """Unpack the one message that is held, and decide; runs in the planner's thread."""
    message = held.pop()
    if isinstance(message, str):
        raise ConfigError("Requests are binary messages (msgpack).")
    request = unpack(message)
    del message
    return session.decide(request, began)


def _note(event: str, **facts: Any) -> None:
    log.info(json.dumps({"event": event, **facts}))


async def _send(connection: ServerConnection, message: bytes | str) -> None:
    """Send, unless the other side takes nothing for too long."""
    async with asyncio.timeout(_SEND_S):
        await connection.send(message)

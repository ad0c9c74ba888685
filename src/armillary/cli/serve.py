"""Serve: a model as a policy server, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tyro.conf import Positional, UseAppendAction

from armillary.cli.listening import key_in, stopped
from armillary.cli.outcome import Outcome
from armillary.cli.parse import existing, settings_of
from armillary.cli.planning import PlanningFlags
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError, MissingExtraError, StorageError

if TYPE_CHECKING:
    from armillary.serve.server import PolicyServer

_LOG_BYTES = 10_000_000
# A decision is many short operations, after each of which it waits for the thread of the network
# for as long as this: 5 ms by default.
_SWITCH_S = 0.0002


@dataclass(frozen=True, kw_only=True)
class Serve(PlanningFlags):
    """Serve a model to robots, until Ctrl-C.

    The protocol is openpi's, so openpi-client works unchanged. A client sends what it sees and,
    once, the picture of its goal. It gets actions inside the bounds. With --guard it gets safe
    actions and `stop` once the world no longer does what the model predicts.

    GET /healthz tells whether it runs, GET /metrics has counts and times.

    e.g. armillary serve out/demo/run tabletop --port 8000
    """

    goes_on: ClassVar[bool] = False

    model: Positional[str]
    """Model folder, run folder, zoo:NAME, or Hub id."""
    world: Positional[str] = ""
    """World whose actions these are. Without one, give --low, --high and --step-s."""
    setting: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the world, e.g. --setting split=train."""
    low: tuple[float, ...] = ()
    """Lowest value of each action of a robot."""
    high: tuple[float, ...] = ()
    """Highest value of each action."""
    step_s: float = 0.1
    """Seconds that an action of the robot lasts."""
    steps: int = 0
    """Steps in which a goal is to be reached, if a client says nothing. Default: the world's, or
    50."""
    guard: Path | None = None
    """guard.json of `armillary guard`: stop when predictions fail."""
    values: Path | None = None
    """Recording with truth. Clients may then give a goal as values, e.g. object_xy=0.3,0.1."""
    host: str = "127.0.0.1"
    """Address to listen on. Any other than loopback needs --key-file."""
    port: int = 8000
    """Port to listen on. 0 takes a free one."""
    key_file: Path | None = None
    """File with the API key that clients must show."""
    clients: int = 8
    """Clients at a time, at most. A new one takes the place of one that was silent for a minute."""
    most_hz: float = 0.0
    """Decisions of a client in a second, at most. Faster ones wait. Default: no bound."""
    log: Path | None = None
    """File to append one JSON object to for each connection, refusal and stop."""
    tls_cert: Path | None = None
    """Certificate for TLS (PEM)."""
    tls_key: Path | None = None
    """Its private key (PEM)."""

    def run(self) -> Outcome:
        """Serve."""
        if self.guard is not None:
            existing(self.guard, "a guard.json file")
        try:
            from armillary.serve import Decider, ServerConfig
        except ImportError as error:
            raise MissingExtraError(
                "Serving needs msgpack and websockets. Install them with: pip install "
                "'armillary[serve]'"
            ) from error
        from armillary.evaluation.sub_goals import acting_spec
        from armillary.zoo.finding import find_model

        config = ServerConfig(
            self.host,
            self.port,
            key_in(self.key_file),
            self.clients,
            self.most_hz,
            self.tls_cert,
            self.tls_key,
        )
        if self.log is not None:
            _log_to(self.log)
        spec = acting_spec(find_model(self.model), self.planning())
        values = None if self.values is None else self._goals(self.values)
        decider = Decider.load(spec, self._world(), self.guard, values)
        decider.warm_up()
        sys.setswitchinterval(_SWITCH_S)
        server = asyncio.run(_until_stopped(decider, config))
        value = {"counts": dict(server.counts)}
        served = server.counts["decisions"]
        return Outcome(value, (f"stopped after {served:,} decisions",))

    def _goals(self, recording: Path) -> Any:
        """Return where goals that are given as values are found."""
        existing(recording, "a dataset folder")
        from armillary.services.recorded_goals import RecordedGoals
        from armillary.zoo.finding import loaded

        with bar("reading values") as progress:
            return RecordedGoals(loaded(self.model), recording, progress)

    def _world(self) -> Any:
        from armillary.evaluation import WorldFactory
        from armillary.serve import world_of_a_robot

        if not self.world:
            if not self.low:
                raise ConfigError(
                    "Say what the actions are: a world, or --low and --high of a robot."
                )
            return world_of_a_robot(self.low, self.high, self.step_s, self.steps or 50)
        world = WorldFactory(self.world, settings_of(self.setting, "--setting"))()
        try:
            spec = world.spec
        finally:
            world.close()
        return replace(spec, budget=self.steps) if self.steps else spec


def _log_to(path: Path) -> None:
    """Append what happens to a file, with its time; two files of at most 10 MB are kept.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    except OSError as error:
        why = error.strerror or error
        raise StorageError(f"{path}: cannot be written ({why}). Choose another --log.") from error
    handler.setFormatter(_Lines())
    logger = logging.getLogger("armillary.serve")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class _Lines(logging.Formatter):
    """One JSON object a line, with the time of each."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; of an error with its traceback, as one text."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = record.getMessage()
        try:
            facts = json.loads(said)
        except ValueError:
            facts = {"event": "error", "why": said}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps({"time": when, **facts})


async def _until_stopped(decider: Any, config: Any) -> PolicyServer:
    """Serve until SIGINT or SIGTERM."""
    from armillary.serve import serving

    async with serving(decider, config) as server:
        scheme = "ws" if config.certificate is None else "wss"
        print(
            f"serving {decider.world.name} on {scheme}://{config.host}:{server.port}; "
            "Ctrl-C stops it",
            file=sys.stderr,
            flush=True,
        )
        await stopped()
    return server

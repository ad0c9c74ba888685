"""Play: steer inside a model, in a browser, until Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tyro.conf import Positional, UseAppendAction

from armillary.cli.listening import key_in, stopped
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, existing, settings_of
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from armillary.play.server import PlayServer


@dataclass(frozen=True, kw_only=True)
class Play(Command):
    """Steer inside a model, in a browser, until Ctrl-C.

    Keys or a gamepad are actions. The page shows what the model predicts beside what the simulator
    does, and how far they are apart. With --data it replays an episode, from which you may depart.

    e.g. armillary play out/demo/run tabletop
    e.g. armillary play zoo:push_t
    """

    goes_on: ClassVar[bool] = False

    model: Positional[str]
    """Model folder, run folder, zoo:NAME, or Hub id."""
    world: Positional[str] = ""
    """World to drive in. Default: the one that the model learned from."""
    setting: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the world, e.g. --setting split=train."""
    data: Path | None = None
    """A recording to drive in, in place of a world. Default: that of a model of the zoo, if it has
    one."""
    episode: int = 0
    """Number of the episode of --data."""
    seed: int = 0
    """Seed of the first scene of a world."""
    hz: float = 20.0
    """Model steps a second at the start."""
    host: str = "127.0.0.1"
    """Address to listen on. Any other than loopback needs --key-file."""
    port: int = 8001
    """Port to listen on. 0 takes a free one."""
    key_file: Path | None = None
    """File with the key that the page asks for."""
    sessions: int = 2
    """Drives at a time, at most. Who comes later waits."""

    def run(self) -> Outcome:
        """Serve the page."""
        if self.data is not None:
            existing(self.data, "a dataset folder")
        try:
            from armillary.play import PlayConfig
        except ImportError as error:
            raise MissingExtraError(
                "The page needs websockets. Install it with: pip install 'armillary[serve]'"
            ) from error
        config = PlayConfig(
            self.host, self.port, key_in(self.key_file), self.sessions, self.seed, self.hz
        )
        server = asyncio.run(_until_stopped(self._opening(), config))
        counts = dict(server.drives.counts)
        return Outcome({"counts": counts}, (f"stopped after {counts.get('frames', 0):,} frames",))

    def _opening(self) -> Any:
        import torch

        from armillary.play import open_recording, open_world, own_recording

        torch.set_num_threads(1)  # a step is small: threads that wait for each other cost more
        if self.data is not None and (self.world or self.setting):
            raise ConfigError("--data is driven in place of a world. Leave out one of the two.")
        data = self.data
        if data is None and not self.world:
            data = own_recording(self.model)
        if data is None:
            return open_world(self.model, self.world, settings_of(self.setting, "--setting"))
        with bar("preparing") as progress:
            return open_recording(self.model, data, self.episode, progress)


async def _until_stopped(opening: Any, config: Any) -> PlayServer:
    """Serve until SIGINT or SIGTERM."""
    from armillary.play import playing

    async with playing(opening, config) as server:
        host = f"[{config.host}]" if ":" in config.host else config.host
        print(
            f"open http://{host}:{server.port}/ in a browser; Ctrl-C stops it",
            file=sys.stderr,
            flush=True,
        )
        await stopped()
    return server

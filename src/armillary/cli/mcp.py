"""MCP: a model as tools of a language model, over stdin and stdout."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from armillary.cli.outcome import Outcome, stdout_kept
from armillary.cli.parse import Command
from armillary.core.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from armillary.agent_tools.worker import Worker


@dataclass(frozen=True, kw_only=True)
class MCP(Command):
    """Let a language model ask world models, over the Model Context Protocol.

    A client starts this command and speaks to it over stdin and stdout. Its tools are list, encode,
    predict, surprise, plan and view. They take the names of what is named here, and numbers of
    episodes and steps. They read no other file, and change nothing.

    A folder is called by its own name, or by the one in NAME=PATH.

    e.g. armillary mcp out/demo/run --data out/demo/recording
    """

    models: Positional[tuple[str, ...]]
    """Model folders or run folders, each PATH or NAME=PATH."""
    data: tuple[str, ...]
    """Dataset folders, each PATH or NAME=PATH."""
    folder: Path | None = None
    """Folder where relative paths begin. No model or dataset may lie outside it."""
    time_limit: float = 60.0
    """Seconds that a call may take. One that takes longer is stopped."""

    def run(self) -> Outcome:
        """Serve until the client closes stdin."""
        from armillary.agent_tools.catalogue import Catalogue

        if self.json:
            raise ConfigError("stdout belongs to the protocol, so --json has no effect; leave it.")
        catalogue = Catalogue.of(self.models, self.data, self.folder)
        try:
            import mcp  # noqa: F401 - before torch is imported for nothing
        except ImportError as error:
            raise MissingExtraError(
                "The tools for agents need the package mcp. Install it with: pip install "
                "'armillary[mcp]'"
            ) from error
        from armillary.agent_tools.worker import Worker

        worker = Worker(catalogue, self.time_limit)
        with stdout_kept(True):
            worker.start()
        try:
            self._serve(worker)
        finally:
            worker.stop()
        print(f"stopped after {worker.answered} answers", file=sys.stderr)
        return Outcome({})

    def _serve(self, worker: Worker) -> None:
        from armillary.agent_tools.server import AgentServer

        names = [*self.models, *self.data]
        print(f"serving {', '.join(names)} over stdio; Ctrl-C stops it", file=sys.stderr)
        AgentServer(worker).run("stdio")

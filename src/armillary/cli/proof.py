"""Proof: the commands that make a result, and those that check it without trusting its author."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import subcommand

from armillary.cli.committing import Commit, Keygen, Nonce, Pack, Reveal, Run, Score
from armillary.cli.compare import Compare
from armillary.cli.contam import Contam, Index
from armillary.cli.leaderboard import Leaderboard
from armillary.cli.ledger import EnterTraining, Ledger
from armillary.cli.verify import Attack, Audit, Challenge, Submit, Verify

Proof = (
    Annotated[Keygen, subcommand("keygen")]
    | Annotated[Pack, subcommand("pack")]
    | Annotated[EnterTraining, subcommand("training")]
    | Annotated[Commit, subcommand("commit")]
    | Annotated[Nonce, subcommand("nonce")]
    | Annotated[Reveal, subcommand("reveal")]
    | Annotated[Run, subcommand("run")]
    | Annotated[Score, subcommand("score")]
    | Annotated[Submit, subcommand("submit")]
    | Annotated[Verify, subcommand("verify")]
    | Annotated[Audit, subcommand("audit")]
    | Annotated[Challenge, subcommand("challenge")]
    | Annotated[Leaderboard, subcommand("leaderboard")]
    | Annotated[Ledger, subcommand("ledger")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Contam, subcommand("contam")]
    | Annotated[Index, subcommand("index")]
    | Annotated[Attack, subcommand("attack")]
)

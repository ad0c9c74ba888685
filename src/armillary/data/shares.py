"""Shares: which clips of an epoch each of several training processes takes.

A step's batch is divided by place: the process with number r takes the r-th part of it. So an
epoch has places for each process. Each process has episodes of its own, which no other fetches,
and the clips of the first block, which all can read, fill the places that are left. So each clip
is seen once an epoch, however many clips the episodes of a process have.

Axes: N clips of an epoch, E episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from armillary.core.errors import ConfigError


@dataclass(frozen=True)
class Share:
    """Which of several processes this one is.

    Attributes:
        rank: its number, from 0.
        count: how many there are; they divide ``batch_size``.
        batch_size: clips of a step, of all processes together.
    """

    rank: int = 0
    count: int = 1
    batch_size: int = 1

    def owners(self, total: int, epoch: int) -> Int[np.ndarray, " N"]:
        """Return which process takes the clip at each place of an epoch.

        Args:
            total: N, clips of an epoch.
            epoch: its number. Batches do not begin anew with an epoch, so places differ by epoch.
        """
        places = (epoch * total + np.arange(total)) % self.batch_size
        return places // (self.batch_size // self.count)

    def check(self, common: int, own: Sequence[int]) -> None:
        """Refuse shares that differ by more than the clips that all can read make up for.

        Args:
            common: clips that all processes can read.
            own: clips that each process alone can read.

        Raises:
            ConfigError: in some epoch a process would have more clips than places.
        """
        if self.count == 1:
            return
        fewest = (common + sum(own)) // self.batch_size * (self.batch_size // self.count)
        if max(own) > fewest:
            raise ConfigError(
                f"The first block of the pool has {common:,} clips, too few to give each of "
                f"{self.count} processes as many clips an epoch ({max(own):,} are in one share, "
                f"{fewest:,} fit). Give --pool-gb more, or take fewer processes."
            )


def dealt(
    order: Int[np.ndarray, " E"], clips: Int[np.ndarray, " E"], count: int
) -> list[Int[np.ndarray, " F"]]:
    """Return the episodes of each process: runs of ``order`` with about as many clips each.

    Runs differ by less than two episodes. Episodes of one file that follow each other stay
    together, but for those at the end of a run.

    Args:
        order: episodes.
        clips: of each of them.
        count: how many processes there are.
    """
    ends = np.cumsum(clips)
    total = int(ends[-1]) if len(ends) else 0
    # an episode belongs where its middle lies
    middles = ends - clips / 2
    cuts = np.searchsorted(middles, [total * part / count for part in range(1, count)])
    return np.split(order, cuts)

"""Lock probe: a process of its own that locks itself as a policy process does, and tells."""

from __future__ import annotations

import os

from armillary.proof.lockdown import Limits, enforced, isolate, lock


def main() -> None:
    """Write the names of what this system really enforces to the standard output."""
    limits = Limits()
    isolate()
    lock(limits)
    os.write(1, " ".join(enforced(limits)).encode())


if __name__ == "__main__":
    main()

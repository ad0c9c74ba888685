"""Policy process: the other side of the boundary, from its first instruction on.

Started as ``policy_process FOLDER`` with pipes as standard input and output. Its imports here are
light: the network is given up before anything large is loaded.
"""

from __future__ import annotations

import sys

from armillary.proof.lockdown import isolate


def main(arguments: list[str]) -> int:
    """Serve the policy that the grader asks for, from a model folder; return the exit code."""
    isolate()
    from armillary.proof.serving import named_policy, serve  # torch comes with it

    return serve(lambda setup: named_policy(setup, arguments[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Proof: results that a stranger can re-run. Agents, suites, ledgers and scorecards, all hashed.

Nothing heavy is imported here, so that a numeric profile can be set before torch is loaded.
"""

from armillary.proof.code import WORLD_MODULES

# Judging clips is no world of ``armillary.worlds`` (see ``suite_worlds.py``), and suites may name
# it all the same. It is entered before ``suite.py`` reads which worlds there are.
QUADRUPLETS = "quadruplets"
WORLD_MODULES[QUADRUPLETS] = "armillary.proof.quadruplets"

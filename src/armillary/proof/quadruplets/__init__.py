"""Quadruplets as a suite's world: a card for comprehension, by the same rules as one for acting.

What is imported here decides, and the hash of a suite's code follows it.
"""

from armillary.proof.quadruplets.policy import SurprisePolicy, SurpriseSpec
from armillary.proof.quadruplets.world import Quadruplets

__all__ = ["Quadruplets", "SurprisePolicy", "SurpriseSpec"]

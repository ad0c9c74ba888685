"""Planning: the cost of a plan, and planners that see nothing but that cost.

Axes: B batch, S candidate plans, K plans kept, L plan length, A action width, N tokens, D latent.
"""

from armillary.planning.cem import CEM, CEMConfig
from armillary.planning.check import check_planner
from armillary.planning.collocation import Collocation, CollocationConfig
from armillary.planning.consensus import consensus, consensus_steps
from armillary.planning.goal_cost import GoalCost, goal_cost
from armillary.planning.gradient import Gradient, GradientConfig
from armillary.planning.icem import ICEM, ICEMConfig
from armillary.planning.mppi import MPPI, MPPIConfig
from armillary.planning.proposals import ActionPrior, StepModel, proposal_steps, propose
from armillary.planning.registry import PLANNERS, make_planner
from armillary.planning.state import PlannerState

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "PLANNERS",
    "ActionPrior",
    "CEMConfig",
    "Collocation",
    "CollocationConfig",
    "GoalCost",
    "Gradient",
    "GradientConfig",
    "ICEMConfig",
    "MPPIConfig",
    "PlannerState",
    "StepModel",
    "check_planner",
    "consensus",
    "consensus_steps",
    "goal_cost",
    "make_planner",
    "proposal_steps",
    "propose",
]

"""Planning: the cost of a plan, and planners that see nothing but that cost.

Axes: B batch, S candidate plans, K plans kept, L plan length, A action width, N tokens, D latent.
"""

from armillary.planning.cem import CEM, CEMConfig
from armillary.planning.check import check_planner
from armillary.planning.goal_cost import GoalCost, goal_cost
from armillary.planning.gradient import Gradient, GradientConfig
from armillary.planning.guided import ActionProposer, GuidedConfig, StepModel, guided_plan
from armillary.planning.icem import ICEM, ICEMConfig
from armillary.planning.mppi import MPPI, MPPIConfig
from armillary.planning.planning import Planning
from armillary.planning.registry import PLANNERS, make_planner
from armillary.planning.state import PlannerState, shifted

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "PLANNERS",
    "ActionProposer",
    "CEMConfig",
    "GoalCost",
    "Gradient",
    "GradientConfig",
    "GuidedConfig",
    "ICEMConfig",
    "MPPIConfig",
    "PlannerState",
    "Planning",
    "StepModel",
    "check_planner",
    "goal_cost",
    "guided_plan",
    "make_planner",
    "shifted",
]

"""World models of armillary as policies of LeRobot.

LeRobot imports this package when it looks for plugins. The import registers the policy
``armillary`` and the environment ``armillary``.
"""

from lerobot_policy_armillary.configuration_armillary import ArmillaryConfig
from lerobot_policy_armillary.environment import ArmillaryEnv, GoalEpisodes
from lerobot_policy_armillary.goals import read_goal, write_goal
from lerobot_policy_armillary.modeling_armillary import ArmillaryPolicy
from lerobot_policy_armillary.processor_armillary import make_armillary_pre_post_processors

__all__ = [
    "ArmillaryConfig",
    "ArmillaryEnv",
    "ArmillaryPolicy",
    "GoalEpisodes",
    "make_armillary_pre_post_processors",
    "read_goal",
    "write_goal",
]

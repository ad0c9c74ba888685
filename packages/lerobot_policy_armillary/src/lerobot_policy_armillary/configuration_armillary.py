"""Configuration: which armillary model acts, on which robot, towards which goal."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs.policies import PreTrainedConfig
from lerobot.optim.optimizers import AdamConfig

from armillary.core.errors import ConfigError


@PreTrainedConfig.register_subclass("armillary")
@dataclass
class ArmillaryConfig(PreTrainedConfig):
    """Settings of ``ArmillaryPolicy``.

    Attributes:
        model: model folder, run folder or Hub id of armillary. Empty in a saved policy, which
            holds its model.
        world: armillary world whose actions these are. Empty for a robot, which needs the next
            three.
        low: lowest value of each action of a robot.
        high: highest value of each action.
        step_s: seconds that an action of the robot lasts.
        steps: in which a goal is to be reached; 0 for the world's budget, or 50 for a robot. An
            environment that says its own is followed.
        goal: file of the goal, a picture or what ``write_goal`` wrote. Empty where observations
            hold the goal.
        keys: LeRobot key of a stream, where it is not found by itself, e.g.
            ``{"rgb": "observation.images.top"}``.
        planner: how it decides, as ``armillary act --planner``; empty for the model's own way.
        latency_budget_ms: the goal policy acts without its search where the search would take
            longer; 0 for no budget.
        guard: guard.json of ``armillary guard``; empty for none.
        seed: names the chance of the first episode; the next ones count on. An environment that
            says its own is followed.
    """

    device: str | None = "cpu"
    model: str = ""
    world: str = ""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    step_s: float = 0.1
    steps: int = 0
    goal: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    planner: str = ""
    latency_budget_ms: float = 0.0
    guard: str = ""
    seed: int = 0

    @property
    def observation_delta_indices(self) -> None:
        """No observation but the present one is read."""

    @property
    def action_delta_indices(self) -> None:
        """No actions are read: nothing is trained here."""

    @property
    def reward_delta_indices(self) -> None:
        """No rewards are read."""

    def get_optimizer_preset(self) -> AdamConfig:
        """Return an optimizer, which LeRobot asks for and nothing uses."""
        return AdamConfig()

    def get_scheduler_preset(self) -> None:
        """Return no schedule."""

    def validate_features(self) -> None:
        """Check that there is a model, and that the actions of its robot are known.

        Raises:
            ConfigError: one of them is missing, or a number is out of range.
        """
        if not self.model:
            raise ConfigError(
                "An armillary policy needs a model; name a model folder, a run folder or a Hub id "
                "with --policy.model."
            )
        if not self.world and not self.low:
            raise ConfigError(
                "Say what the actions are: --policy.world with a world of armillary, or "
                "--policy.low, --policy.high and --policy.step_s of a robot."
            )
        if self.steps < 0 or self.latency_budget_ms < 0 or self.seed < 0:
            raise ConfigError(
                "steps, latency_budget_ms and seed are at least 0; got "
                f"{self.steps}, {self.latency_budget_ms:g} and {self.seed}."
            )

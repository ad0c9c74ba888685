"""Settings of the study: how much of everything, and what is fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from armillary.core.errors import ConfigError, unknown_name
from armillary.words.language import FORMS
from armillary.words.scenes import SCENES, Scene

TEXT_VARIANTS = ("T-probe", "T-true", "T-noise")
HORIZONS = (1, 4, 8, 16)
HISTORY = 4  # model steps that every variant sees before it predicts
CONTEXT = 256  # tokens


@dataclass(frozen=True)
class WordsConfig:
    """How much of everything.

    Attributes:
        scene: the world; a key of ``SCENES``.
        seeds: of training; each names weights, order and the split of the episodes.
        episodes: recorded to learn from; they are recorded unless a dataset is given.
        judged: episodes recorded to judge on, with another seed.
        judged_seed: of that recording.
        steps: T of each episode.
        world_steps: updates of the world model's first stage; None for the whole recipe. The core
            seconds that it takes are those that each language model gets.
        form: how a step is written; a key of ``FORMS``.
        variants: language models that are trained; none judges world model and floors alone.
        goals: that each seed is asked to reach, other ones for each seed; where the scene has a
            task.
        candidates: plans of each round of the planner.
        rounds: of each decision.
        plan_steps: actions of a plan.
        replan: actions of a plan that are carried out before the next decision.
        pairs: possible and impossible, of each kind.
    """

    scene: str = "tabletop"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    episodes: int = 2000
    judged: int = 200
    judged_seed: int = 3300
    steps: int = 24
    world_steps: int | None = None
    form: str = "digits"
    variants: tuple[str, ...] = TEXT_VARIANTS
    goals: int = 60
    candidates: int = 16
    rounds: int = 2
    plan_steps: int = 5
    replan: int = 5
    pairs: int = 100

    def __post_init__(self) -> None:
        if self.scene not in SCENES:
            raise unknown_name("scene", self.scene, SCENES)
        if self.form not in FORMS:
            raise unknown_name("form of text", self.form, FORMS)
        for variant in self.variants:
            if variant not in TEXT_VARIANTS:
                raise unknown_name("language model", variant, TEXT_VARIANTS)
        least = min(self.episodes, self.judged, self.goals, self.pairs, self.rounds, self.replan)
        if not self.seeds or least < 1 or min(self.seeds) < 0:
            raise ConfigError(
                "compare words needs a seed, and episodes, judged episodes, goals, pairs, rounds "
                "and replan of at least 1."
            )
        if self.steps < HISTORY + 2:
            raise ConfigError(
                f"compare words needs episodes of at least {HISTORY + 2} steps, got {self.steps}."
            )
        if self.candidates < 8 or self.plan_steps < self.replan:
            raise ConfigError(
                "compare words needs at least 8 candidates, and plans of at least as many actions "
                f"as are carried out; got {self.candidates}, {self.plan_steps} and {self.replan}."
            )

    @property
    def scene_spec(self) -> Scene:
        """The world, and which of its streams are written as text."""
        return SCENES[self.scene]

    @property
    def horizons(self) -> tuple[int, ...]:
        """Model steps ahead that the episodes are long enough for."""
        return tuple(ahead for ahead in HORIZONS if HISTORY + ahead <= self.steps)

"""Challenging: level 4. The agent on episodes that did not exist when it was committed.

It makes seed picking, dropped episodes, memorised tests and the best of many tries irrelevant, and
believes no clock and no ledger: only the agent's folder and the verifier's own nonce.
"""

from __future__ import annotations

from dataclasses import dataclass

from armillary.core.errors import ConfigError
from armillary.evaluation.evaluate import evaluate
from armillary.proof.rows import clopper_pearson
from armillary.proof.seeds import draw_manifest
from armillary.proof.suite_worlds import SuiteWorld
from armillary.proof.verify.case import Case
from armillary.proof.verify.replaying import workers_for
from armillary.proof.verify.rules import Check, Said, broken, holds
from armillary.proof.verify.sampling import fisher_less

ALPHA = 0.01
ENOUGH = 0.95  # probability of finding a claim that is 20 points too high
_DROP = 0.20


@dataclass(frozen=True)
class Challenged:
    """What a task's fresh episodes showed.

    Attributes:
        task: its name.
        claimed: successes and episodes of the claim.
        fresh: of the challenge.
    """

    task: str
    claimed: tuple[int, int]
    fresh: tuple[int, int]

    @property
    def p_value(self) -> float:
        """Probability of so few fresh successes if the claim's rate were true."""
        return fisher_less(self.claimed, self.fresh)


def challenged(case: Case) -> tuple[Challenged, ...]:
    """Return every task's fresh episodes, run here; found once per case.

    Raises:
        ConfigError: the nonce is the value that the claim's own seeds came from.
    """
    found = case.__dict__.get("challenged")
    if found is None:
        if case.how.nonce == case.sources.claimed.reveal.body["value"]:
            raise ConfigError("The nonce is the claim's own value; a challenge needs a new one.")
        found = tuple(_task(case, task) for task in case.sources.rows)
        case.__dict__["challenged"] = found
    return found


def _task(case: Case, name: str) -> Challenged:
    suite = case.sources.suite
    manifest = draw_manifest(suite, suite.task(name), case.how.nonce, case.how.fresh)
    workers = workers_for(case, case.how.fresh * manifest.budget)
    agent = case.sources.agent.for_task(name)
    world = SuiteWorld.of(manifest)
    fresh = evaluate(manifest, agent, world, workers=workers, progress=case.how.progress)
    claimed = case.sources.rows[name]["agent"]
    return Challenged(
        name,
        (sum(record.success for record in claimed), len(claimed)),
        (sum(record.success for record in fresh), len(fresh)),
    )


def rate(case: Case) -> Said:
    """The agent does as well on fresh episodes as is claimed."""
    every = challenged(case)
    limit = ALPHA / len(every)
    worst = min(every, key=lambda one: one.p_value)
    numbers = {
        one.task: {
            "claimed": list(one.claimed),
            "fresh": list(one.fresh),
            "ci95": [f"{limit:.4f}" for limit in clopper_pearson(*one.fresh)],
            "p": f"{one.p_value:.3g}",
        }
        for one in every
    }
    said = (
        f"{worst.task}: {worst.claimed[0]} of {worst.claimed[1]} are claimed, {worst.fresh[0]} of "
        f"{worst.fresh[1]} fresh ones are solved; p = {worst.p_value:.2g} (limit {limit:.2g})."
    )
    return (broken if worst.p_value < limit else holds)(said, **numbers)


def power(case: Case) -> Said:
    """The challenge would have seen a claim that is 20 points too high."""
    every = challenged(case)
    weakest = min(power_of(one, ALPHA / len(every)) for one in every)
    said = f"A claim 20 points too high would be refuted with {100 * weakest:.0f} %."
    return (holds if weakest >= ENOUGH else broken)(said, power=f"{weakest:.4f}")


def power_of(one: Challenged, alpha: float) -> float:
    """Return the probability of a refutation if the true rate is 20 points below the claim.

    Args:
        one: what was claimed, and how many fresh episodes there are.
        alpha: of the test.
    """
    from scipy.stats import binom

    true, n = max(one.claimed[0] / one.claimed[1] - _DROP, 0.0), one.fresh[1]
    low, high = -1, n  # p grows with the fresh successes: the most of them that still refute
    while high - low > 1:
        middle = (low + high) // 2
        if fisher_less(one.claimed, (middle, n)) < alpha:
            low = middle
        else:
            high = middle
    return float(binom.cdf(low, n, true)) if low >= 0 else 0.0


CHALLENGE = (
    Check("challenge.rate", 4, rate, about="lucky seeds, chosen runs, memorised tests"),
    Check("challenge.power", 4, power, "warning", False, "a challenge too small to tell"),
)

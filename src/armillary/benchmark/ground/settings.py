"""Settings of the peers, with the values of their own configuration files as defaults.

Source: stable-worldmodel, configurations ``lewm`` and ``pldm`` of its training scripts, ``pusht``,
``tworoom`` and solver ``cem`` of its planning scripts; le-wm, ``lewm``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from armillary.core.errors import ConfigError

FRAME_SKIP = 5  # world steps per model step, in training and in planning
HISTORY = 3  # model steps that the predictor sees in training
_FEWEST_SAMPLES = 30


@dataclass(frozen=True)
class PeerTraining:
    """How a peer is trained; only length and machine are not theirs.

    Attributes:
        image_size: H = W of the pictures, pixels.
        patch: side of the encoder's patches; 0 takes 14 where it divides the picture (224 pixels)
            and 8 elsewhere (at 64 pixels 14 would drop a border of 8).
        batch_size: windows per update.
        lr: AdamW's peak; a linear warm-up and a cosine to zero over the seconds, as theirs over
            epochs.
        weight_decay: AdamW's.
        warmup: share of the seconds with rising learning rate.
        clip_norm: largest norm of the gradient.
        bfloat16: autocast, as their trainer's precision says.
        sigreg: weight of LeWM's regulariser.
        std: weight of PLDM's variance hinge over the batch.
        std_t: the same over time.
        cov: weight of PLDM's covariances over the batch.
        cov_t: the same over time (their configuration has 0).
        temp_align: weight of PLDM's change from step to step.
        idm: weight of PLDM's inverse dynamics (their configuration has 0).
    """

    image_size: int = 224
    patch: int = 0
    batch_size: int = 128
    lr: float = 5e-5
    weight_decay: float = 1e-3
    warmup: float = 0.01
    clip_norm: float = 1.0
    bfloat16: bool = True
    sigreg: float = 0.09
    std: float = 18.0
    std_t: float = 0.7
    cov: float = 12.0
    cov_t: float = 0.0
    temp_align: float = 0.2
    idm: float = 0.0

    def __post_init__(self) -> None:
        if self.batch_size < 2 or not self.lr > 0 or self.image_size < 16:
            raise ConfigError(
                "A peer needs a batch of at least 2, a learning rate above 0 and pictures of at "
                f"least 16 pixels; got {self.batch_size}, {self.lr}, {self.image_size}."
            )

    @property
    def patch_side(self) -> int:
        """Side of the encoder's patches, pixels."""
        return self.patch or (14 if self.image_size % 14 == 0 else 8)


@dataclass(frozen=True)
class PeerPlanning:
    """How a peer plans: its cross-entropy solver and what is executed of a plan.

    Attributes:
        samples: candidates per iteration, S.
        elites: K.
        iterations: per decision (theirs: 30; 10 in their paper outside Push-T).
        std: spread at the start, in standard deviations of the recorded actions.
        horizon: model steps of a plan.
        executed: model steps of it that are executed before the next decision.
        bfloat16: autocast while planning; off in their configuration.
    """

    samples: int = 300
    elites: int = 30
    iterations: int = 30
    std: float = 1.0
    horizon: int = 5
    executed: int = 5
    bfloat16: bool = False

    def __post_init__(self) -> None:
        counts = (self.elites, self.iterations, self.horizon, self.executed)
        # their solver's spread of one elite would not be a number
        if min(counts) < 1 or self.elites < 2 or self.samples < self.elites:
            raise ConfigError(
                "A peer's planning needs at least 2 elites, as many samples, and 1 iteration and "
                f"step; got {self}."
            )
        if self.executed > self.horizon:
            raise ConfigError(f"A peer cannot execute more steps than it plans; got {self}.")

    @property
    def model_steps(self) -> int:
        """Predictor steps of one decision."""
        return self.samples * self.iterations * self.horizon


def equal_planning(own: PeerPlanning, model_steps: int) -> PeerPlanning:
    """Return a peer's planning with about as many model steps per decision as asked for.

    Iterations are given up before samples fall below 30 (or what the peer has), then samples; a
    tenth of the samples, as in theirs, are elites.

    Args:
        own: the peer's own settings.
        model_steps: predictor steps that one decision may take.
    """
    fewest = min(_FEWEST_SAMPLES, own.samples)
    iterations = max(1, min(own.iterations, model_steps // (own.horizon * fewest)))
    samples = max(2, model_steps // (own.horizon * iterations))
    elites = min(samples, max(2, round(samples * own.elites / own.samples)))
    return replace(own, samples=samples, elites=elites, iterations=iterations)

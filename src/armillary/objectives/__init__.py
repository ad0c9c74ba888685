"""Objectives: losses and the collapse diagnosis, as functions of tensors."""

from armillary.objectives.agreement import agreement_loss
from armillary.objectives.collapse import CollapseDiagnosis, diagnose_collapse
from armillary.objectives.inverse_dynamics import inverse_dynamics_loss
from armillary.objectives.rollout import decaying_weights, rollout_loss
from armillary.objectives.sigreg import sigreg
from armillary.objectives.temporal import motion_variance_covariance, smoothness
from armillary.objectives.variance_covariance import variance_covariance
from armillary.objectives.weighted import weighted_sum

__all__ = [
    "CollapseDiagnosis",
    "agreement_loss",
    "decaying_weights",
    "diagnose_collapse",
    "inverse_dynamics_loss",
    "motion_variance_covariance",
    "rollout_loss",
    "sigreg",
    "smoothness",
    "variance_covariance",
    "weighted_sum",
]

"""Objectives: losses and the collapse diagnosis, as functions of tensors."""

from armillary.objectives.agreement import agreement_loss
from armillary.objectives.bird_view import BIRD_VIEW_KINDS, bird_view, bird_view_loss, picture_view
from armillary.objectives.collapse import CollapseDiagnosis, diagnose_collapse
from armillary.objectives.glimpse import GLIMPSE_HUES, GLIMPSE_PIXELS, glimpse_loss, glimpses
from armillary.objectives.inverse_dynamics import inverse_dynamics_loss
from armillary.objectives.rollout import decaying_weights, rollout_loss
from armillary.objectives.sigreg import sigreg
from armillary.objectives.temporal import motion_variance_covariance, smoothness
from armillary.objectives.variance_covariance import variance_covariance
from armillary.objectives.weighted import weighted_sum

__all__ = [
    "BIRD_VIEW_KINDS",
    "GLIMPSE_HUES",
    "GLIMPSE_PIXELS",
    "CollapseDiagnosis",
    "agreement_loss",
    "bird_view",
    "bird_view_loss",
    "decaying_weights",
    "diagnose_collapse",
    "glimpse_loss",
    "glimpses",
    "inverse_dynamics_loss",
    "motion_variance_covariance",
    "picture_view",
    "rollout_loss",
    "sigreg",
    "smoothness",
    "variance_covariance",
    "weighted_sum",
]

"""Monitoring: what comes beside what was predicted, and a guard that stops a policy."""

from armillary.monitoring.calibration import conformal_limit, fit_normal, set_limits
from armillary.monitoring.guard import Guard, GuardedPolicy
from armillary.monitoring.guard_file import GuardedSpec, load_guard, save_guard
from armillary.monitoring.watching import Watcher, watch

__all__ = [
    "Guard",
    "GuardedPolicy",
    "GuardedSpec",
    "Watcher",
    "conformal_limit",
    "fit_normal",
    "load_guard",
    "save_guard",
    "set_limits",
    "watch",
]

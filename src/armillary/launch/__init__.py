"""Launch: hand a training to a cluster's scheduler."""

from armillary.launch.slurm import SlurmJob, Submitted, need_slurm, refuse_if_in_use, submit

__all__ = ["SlurmJob", "Submitted", "need_slurm", "refuse_if_in_use", "submit"]

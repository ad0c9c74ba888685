"""Spatial: what do depth, points and poses buy? Six ways to see, equal in all else."""

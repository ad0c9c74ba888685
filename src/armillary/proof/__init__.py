"""Proof: why anyone should believe a number: the boundary between grader and policy."""

"""Proof: what lets a stranger check a number."""

"""Proof: results that a stranger can re-run. Agents, suites, ledgers and scorecards, all hashed.

Nothing heavy is imported here, so that a numeric profile can be set before torch is loaded.
"""

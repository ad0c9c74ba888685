"""Sweep: every combination of some settings; the best is chosen and judged once."""

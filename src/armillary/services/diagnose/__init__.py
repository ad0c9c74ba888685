"""Diagnose: what a model predicts, knows and ignores, from its name to a page."""

"""Gymnasium environments as worlds, with goals."""

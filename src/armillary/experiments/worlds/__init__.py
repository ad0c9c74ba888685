"""Worlds: the recipe in many environments, and what a search adds to acting."""

"""Recipes: complete runs as Python functions."""

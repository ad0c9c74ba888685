"""Ablation: the recipe with one part left out at a time."""

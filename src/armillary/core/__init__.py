"""Core: the words that every other layer speaks (axes, values, protocols, errors, randomness)."""

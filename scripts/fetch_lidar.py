r"""Fetch the real laser recording that ``armillary bench lidar`` is run on; it is never committed.

225 sweeps of a SICK laser (361 beams, 180 degrees) with the odometry between them, one loop on
the campus of Malaga, from Debian's ``mrpt-common`` (BSD-3-Clause, 9 MB):

    python scripts/fetch_lidar.py out/lidar/loop.rawlog

uses ``apt-get download`` and ``dpkg-deb`` (no root, nothing is installed). Elsewhere, take the
package from https://packages.debian.org/mrpt-common and name it: ``--deb mrpt-common_....deb``.
The file's SHA-256 is checked before it is put in place.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "mrpt-common"
INSIDE = "usr/share/mrpt/datasets/2006-01ENE-21-SENA_Telecom Faculty_one_loop_only.rawlog"
SHA256 = "23137dedc3d694976de922d2f7e8c9878d6036bd5ba5ed52ef8d1bc57372e49d"


def main() -> int:
    """Fetch, check, put in place; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--deb", type=Path, help="the package, where apt-get is not at hand")
    wanted = parser.parse_args()
    try:
        fetch(wanted.out, wanted.deb)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{wanted.out}: as expected (sha256 {SHA256[:12]}...)\n")
    return 0


def fetch(out: Path, deb: Path | None) -> None:
    """Put the recording at ``out``; leave what stands there if it is the same already.

    Raises:
        ValueError: the package does not hold the file, or another one.
        CalledProcessError: apt-get or dpkg-deb failed.
    """
    from armillary.core.files import replacing
    from armillary.core.hashing import file_sha256

    if out.is_file() and file_sha256(out) == SHA256:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if deb is None:
            subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True, stdout=2)
            deb = next(folder.glob(f"{PACKAGE}_*.deb"))
        unpacked = folder / "unpacked"
        subprocess.run(["dpkg-deb", "-x", os.fspath(deb), os.fspath(unpacked)], check=True)
        found = unpacked / INSIDE
        if not found.is_file():
            raise ValueError(f"{deb.name}: does not hold {INSIDE!r}.")
        if (sha256 := file_sha256(found)) != SHA256:
            raise ValueError(f"{deb.name}: the recording has sha256 {sha256}, wanted {SHA256}.")
        with replacing(out) as beside:
            shutil.copyfile(found, beside)


if __name__ == "__main__":
    sys.exit(main())

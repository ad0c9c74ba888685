r"""Learn from real video without actions, and say whether it foresees better than "nothing moves".

The video is Debian's: 795 frames of pedestrians at 10 per second (``apt-get install opencv-doc``).

    python scripts/real_video.py \
        /usr/share/doc/opencv-doc/examples/data/vtest.avi --out out/real_video

writes ``out/real_video/real_video.json``, about a minute per seed on one core; add
``--record results/real_video.json`` to keep a copy with the command and what else was tried.
Exit code 1 if copy-last is not beaten everywhere by every seed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

NOTES = Path(__file__).with_name("real_video_notes.json")


def main() -> int:
    """Run it, print the table, and return the exit code."""
    from armillary.core.files import read_json, write_json
    from armillary.recipes.real_video import RealVideoConfig, real_video
    from armillary.recipes.video import video

    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/real_video"))
    parser.add_argument("--record", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    config = RealVideoConfig(replace(video(), threads=wanted.threads))
    result = real_video(wanted.video, wanted.out, config, command="python " + shlex.join(sys.argv))
    for line in table(result):
        sys.stdout.write(line + "\n")
    if wanted.record:
        write_json(wanted.record, {**result, **read_json(NOTES)})
    whole = f"{len(result['seeds'])} of {len(result['seeds'])} seeds"
    return int(any(said != whole for space in result["holds"].values() for said in space.values()))


def table(result: dict) -> list[str]:
    """Return one line per seed, space and horizon."""
    lines = ["seed space   ahead_s  error copy-last  mean  untrained  gain [95 % interval]"]
    for seed, entry in result["seeds"].items():
        for space in ("latent", "frozen"):
            for seconds, found in entry["trained"].items():
                row, fresh = found[space], entry["untrained"][seconds][space]
                low, high = row["gain_interval"]
                lines.append(
                    f"{seed:>4} {space}  {seconds:>6}  {row['error']:6.3f} "
                    f"{row['error_copy_last']:9.3f} {row['error_mean']:6.3f} "
                    f"{fresh['error']:9.3f}  {row['gain']:.3f} [{low:.3f}, {high:.3f}]"
                )
    return lines


if __name__ == "__main__":
    sys.exit(main())

"""Change files at random and count how their readers end: results/mutations.json.

    python scripts/measure_mutations.py [--each 1000] [--record FILE]

Models, datasets, manifests, records and submissions are changed one file at a time, a thousand
times each. A change must end in a sentence, or in what was there before: never in a traceback, and
never in something else that is accepted. The peak memory is that of the whole process.

A change is named by its kind and number, and can be made again: ``mutate`` of
``armillary.proof.attack.mutating``. A kind that the record has already is not run again. An
untrained agent of a few hundred weights is what is read, so the seconds are those of the checks and
not of a large model.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from armillary.core.files import read_json, write_json
from armillary.proof.profiles import ensure

KINDS = ("manifests", "records", "models", "submissions", "datasets")
MOST_S, MOST_BYTES = 20.0, 1 << 30


def main() -> None:
    """Measure every kind that the record has not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=1000)
    parser.add_argument("--record", type=Path, default=Path("results/mutations.json"))
    given = parser.parse_args()
    ensure("portable")
    # torch is loaded by these, after the profile
    from armillary.benchmark.machine import provenance
    from armillary.proof.attack.mutating import mutate, targets
    from armillary.proof.attack.stage import set_stage

    made = provenance(" ".join(["python", *sys.argv]), 1)
    record = read_json(given.record) if given.record.exists() else {"kinds": {}}
    with TemporaryDirectory() as spare:
        stage = set_stage(Path(spare) / "stage", boundary=False)
        every = targets(stage, Path(spare) / "files")
        for kind in KINDS:
            if record["kinds"].get(kind, {}).get("n", 0) >= given.each:
                continue
            began = time.monotonic()
            tally = mutate(every[kind], range(given.each), kind)
            record["kinds"][kind] = {
                "n": given.each,
                "endings": dict(tally.endings),
                "worst": tally.worst,
                "slowest_s": round(tally.slowest_s, 3),
                "seconds": round(time.monotonic() - began, 1),
            }
            kinds = record["kinds"].values()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            record["n"] = sum(one["n"] for one in kinds)
            record["bad"] = sum(len(one["worst"]) for one in kinds)
            record["slowest_s"] = max(one["slowest_s"] for one in kinds)
            record["peak_bytes"] = max(peak, record.get("peak_bytes", 0))
            record["within"] = record["slowest_s"] <= MOST_S and record["peak_bytes"] <= MOST_BYTES
            write_json(given.record, record | made)
            sys.stdout.write(f"{kind}: {record['kinds'][kind]}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

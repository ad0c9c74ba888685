#!/usr/bin/env bash
# From a model to a folder that a stranger can check: results/proof/NAME, and the table in docs/results.md.
#
#   scripts/prove.sh MODEL SUITE NAME [words for `armillary proof pack`]
#
# COMMIT="--train first --rule last" has words for `armillary proof commit`. What a killed call left in
# out/proof/NAME is gone on with, as the same attempt. The key and the ledger lie in out/proof and are
# used again: every NAME is an attempt that the next scorecard tells. The seeds come from a secret of our
# own, so the card calls them weak; ask somebody else for a nonce (`armillary proof nonce`) where fresh
# ones are wanted.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 3 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
model=$1 suite=$2 name=$3
shift 3

armillary=.venv/bin/armillary
out=results/proof/$name work=out/proof/$name key=out/proof/key ledger=out/proof/ledger.jsonl
agent=$work/agent run=$work/run
[ ! -e "$out" ] || { echo "$out: exists already; a submission is never changed. Choose another name." >&2; exit 2; }

# The commit of this agent to this suite that a run of ours is to follow, and whether its seeds are
# revealed: the ledger alone knows what a killed call had done.
committed() {
  [ -f $ledger ] || return 0
  .venv/bin/python - "$ledger" "$agent" "$suite" "$run" <<'PYTHON'
import sys
from pathlib import Path

from armillary.proof.agent import agent_digest
from armillary.proof.builtin import find_suite
from armillary.proof.ledger import read_ledger

ledger, agent, suite, run = sys.argv[1:]
history = read_ledger(Path(ledger)).history
wanted = agent_digest(Path(agent)), find_suite(suite).digest
own = [c for c in history.commits.values() if (c.body["agent"], c.body["suite"]["digest"]) == wanted]
if not (Path(run) / "records").is_dir():  # then another NAME's runs are not ours
    begun = {one.start.body["commit"] for one in history.runs.values()}
    own = [commit for commit in own if commit.hash not in begun]
for commit in own[-1:]:
    print(commit.hash, "revealed" if commit.hash in history.reveals else "closed")
PYTHON
}

mkdir -p "$work"
[ -f $key ] || $armillary proof keygen $key
[ -d "$agent" ] || $armillary proof pack "$model" --out "$agent" "$@"
# shellcheck disable=SC2086  # words, split on purpose
[ -n "$(committed)" ] || $armillary proof commit "$agent" --suite "$suite" ${COMMIT:-}
read -r commit seeds <<<"$(committed)"
[ "$seeds" = revealed ] || $armillary proof reveal "$commit"
$armillary proof run "$commit" --agent "$agent" --suite "$suite" --out "$run"
[ -f "$run/scorecard.json" ] || $armillary proof score "$commit" --agent "$agent" --suite "$suite" --out "$run"
$armillary proof submit "$out" --run-folder "$run" --agent "$agent"
$armillary proof verify "$out" --level 2
.venv/bin/python tools/proof_tables.py

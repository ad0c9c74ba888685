#!/usr/bin/env bash
# From a model to a folder that a stranger can check: results/proof/NAME, and README's table of it.
#
#   scripts/prove.sh MODEL SUITE NAME [words for `armillary bench pack`]
#
# What a killed call left in out/proof/NAME is gone on with, as the same attempt. The key and the
# ledger lie in out/proof and are used again: every NAME is an attempt that the next scorecard tells.
# The seeds come from a secret of our own, so the card calls them weak; ask somebody else for a nonce
# (`armillary bench nonce`) where fresh ones are wanted.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 3 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
model=$1 suite=$2 name=$3
shift 3

armillary=.venv/bin/armillary
out=results/proof/$name work=out/proof/$name key=out/proof/key
agent=$work/agent run=$work/run
[ ! -e "$out" ] || { echo "$out: exists already; a submission is never changed. Choose another name." >&2; exit 2; }

mkdir -p "$work"
[ -f $key ] || $armillary bench keygen $key
[ -d "$agent" ] || $armillary bench pack "$model" --out "$agent" "$@"
if [ ! -s "$work/commit" ]; then
  $armillary bench commit "$agent" --suite "$suite" --json |
    .venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["commit"])' > "$work/commit.new"
  mv "$work/commit.new" "$work/commit"
fi
commit=$(cat "$work/commit")
if [ ! -e "$work/revealed" ]; then
  $armillary bench reveal "$commit"
  touch "$work/revealed"
fi
$armillary bench run "$commit" --agent "$agent" --suite "$suite" --out "$run"
[ -f "$run/scorecard.json" ] || $armillary bench score "$commit" --agent "$agent" --suite "$suite" --out "$run"
$armillary bench submit "$out" --run-folder "$run" --agent "$agent"
$armillary bench verify "$out" --level 2
.venv/bin/python tools/proof_tables.py

#!/usr/bin/env bash
# From a model to a folder that a stranger can check: results/proof/NAME, and README's table of it.
#
#   scripts/prove.sh MODEL SUITE NAME [words for `armillary bench pack`]
#
# The key and the ledger lie in out/proof and are used again: every call is an attempt that the next
# scorecard tells. The seeds come from a secret of our own, so the card calls them weak; ask somebody
# else for a nonce (`armillary bench nonce`) where fresh ones are wanted.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 3 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
model=$1 suite=$2 name=$3
shift 3

armillary=.venv/bin/armillary
work=out/proof
run=$work/$name/run agent=$work/$name/agent
mkdir -p "$work"
[ -f $work/key ] || $armillary bench keygen $work/key
$armillary bench pack "$model" --out "$agent" "$@"
commit=$($armillary bench commit "$agent" --suite "$suite" --json |
  .venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["commit"])')
$armillary bench reveal "$commit"
$armillary bench run "$commit" --agent "$agent" --suite "$suite" --out "$run"
$armillary bench score "$commit" --agent "$agent" --suite "$suite" --out "$run"
$armillary bench submit "results/proof/$name" --run-folder "$run" --agent "$agent"
$armillary bench verify "results/proof/$name" --level 2
.venv/bin/python tools/proof_tables.py

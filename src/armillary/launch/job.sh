#!/bin/bash
# One training as a Slurm job. armillary/launch/slurm.py hands this file to sbatch:
#
#   sbatch OPTIONS job.sh LEAD_S RUN PROCESSES PYTHON WORD...
#
# Slurm keeps a copy and runs it from the top at every attempt. The words end with --resume, so an
# attempt goes on from the newest checkpoint. Slurm itself requeues what it preempts and what a
# broken node held. Before the time limit it sends USR1 to this shell, which asks to be requeued. A
# shell does that: Python could not while it waits in a collective for a process that hangs.
set -u
lead_s=$1 run=$2 processes=$3 python=$4
shift 4

say() { echo "[launch $(date -u +%FT%TZ)] $*"; }
newest() { readlink "$run/checkpoints/last" || true; }

before=$(newest)

at_usr1() {
    # Slurm sends it up to a minute early. Where more time is left, it announces a preemption.
    local left_s=$((${SLURM_JOB_END_TIME:-0} - $(date +%s)))
    if ((left_s <= lead_s + 60)) && [ "$(newest)" = "$before" ]; then
        say "The time limit was reached before a new checkpoint, so another attempt would get no further." \
            "Launch it again with train's --resume and more --time or a smaller --checkpoint-every."
        exit 1
    fi
    say "requeued with $left_s s left; newest checkpoint: $(newest)"
    until scontrol requeue "$SLURM_JOB_ID"; do sleep 5; done
}
trap at_usr1 USR1

train=("$python" -u -m)
if ((processes * SLURM_JOB_NUM_NODES > 1)); then
    # one task a node: its torchrun starts the processes there. $SLURM_NODEID differs by node.
    head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    train=(bash -c 'exec "$0" -u -m torch.distributed.run --node-rank "$SLURM_NODEID" "$@"' "$python"
        --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "$processes" --master-addr "$head"
        --master-port "$((20000 + SLURM_JOB_ID % 10000))" -m)
fi

say "attempt $((${SLURM_RESTART_COUNT:-0} + 1)) on $SLURM_JOB_NODELIST; newest checkpoint: ${before:-none}"
# a step does not inherit --cpus-per-task in all versions of Slurm
srun --kill-on-bad-exit=1 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
    "${train[@]}" armillary "$@" &
step=$!
wait "$step"
code=$?
while kill -0 "$step" 2>/dev/null; do # a signal ends a wait, too
    wait "$step"
    code=$?
done
say "ended with exit code $code"
exit "$code"

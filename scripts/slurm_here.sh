#!/bin/bash
# A real Slurm on this machine, to try `armillary launch slurm` without a cluster.
#
#   scripts/slurm_here.sh start FOLDER     # prints the line that makes a shell use it
#   scripts/slurm_here.sh stop FOLDER
#
# It takes root, and from Debian: apt-get install --no-install-recommends slurmctld slurmd
# slurm-client munge. There are two nodes of one core each, both this machine. The partition `urgent`
# preempts jobs of `main`. It runs without systemd and cgroups, keeps all it writes in FOLDER, and
# is for trying only: it runs everything as root.
set -euo pipefail

[ $# = 2 ] || { sed -n '2,11s/^# \?//p' "$0" >&2; exit 2; }
mkdir -p "$2"
folder=$(realpath "$2")
export SLURM_CONF=$folder/slurm.conf
munge_pid=/run/munge/munged.pid

configuration() {
    local host
    host=$(hostname)
    cat <<C
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
ReturnToService=2
KillWait=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldPort=16817
NodeName=$host NodeHostname=$host NodeAddr=127.0.0.1 Port=16818 CPUs=1 RealMemory=6000 State=UNKNOWN
NodeName=$host-2 NodeHostname=$host NodeAddr=127.0.0.1 Port=16819 CPUs=1 RealMemory=6000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=01:00:00 DefMemPerCPU=4000 PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL MaxTime=01:00:00 DefMemPerCPU=4000 PriorityTier=2 PreemptMode=OFF State=UP
C
}

start() {
    command -v slurmctld slurmd munged >/dev/null || {
        echo "Slurm is missing; apt-get install --no-install-recommends slurmctld slurmd slurm-client munge" >&2
        exit 2
    }
    mkdir -p "$folder/state" /run/munge
    configuration >"$SLURM_CONF"
    chown munge: /run/munge
    if ! { [ -f $munge_pid ] && kill -0 "$(cat $munge_pid)" 2>/dev/null; }; then
        runuser -u munge -- munged
        touch "$folder/munge-is-ours"
    fi
    slurmctld -f "$SLURM_CONF"
    for node in "$(hostname)" "$(hostname)-2"; do slurmd -f "$SLURM_CONF" -N "$node"; done
    for _ in $(seq 30); do
        [ "$(sinfo --noheader --partition main --states idle --format %D)" = 2 ] && break
        sleep 1
    done
    sinfo >&2
    echo "export SLURM_CONF=$SLURM_CONF"
}

stop() {
    scontrol shutdown
    if [ -f "$folder/munge-is-ours" ]; then
        kill "$(cat $munge_pid)"
        rm "$folder/munge-is-ours"
    fi
}

case $1 in
start | stop) "$1" ;;
*) sed -n '2,11s/^# \?//p' "$0" >&2; exit 2 ;;
esac

#!/usr/bin/env bash
# A Slurm of two nodes on this machine, for as long as COMMAND runs: to rehearse sbatch
# files, and for their test. See launch/README.md.
set -euo pipefail

if [ $# -eq 0 ]; then
  echo "usage: $0 COMMAND..." >&2
  exit 2
fi
PATH=$PATH:/usr/sbin
for program in munged slurmctld slurmd sbatch; do
  if ! command -v "$program" >/dev/null; then
    echo "error: $program is missing; on Debian, as root:" \
      "apt-get install munge slurmctld slurmd slurm-client" >&2
    exit 2
  fi
done

folder=$(mktemp -d)
PORT=${PORT:-26900}  # and the two after it
dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none
chmod 600 "$folder/munge.key"
mkdir "$folder/state" "$folder/spool"

# Nodes are named by their addresses: nothing has to resolve them. More CPUs than there
# are may be promised. What is requeued may start again after cred_expire seconds.
cat >"$folder/slurm.conf" <<CONF
ClusterName=one_machine
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=10
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=5
MinJobAge=3600
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=127.0.0.[1-2] NodeHostname=$(hostname) NodeAddr=127.0.0.[1-2] \
Port=[$((PORT + 1))-$((PORT + 2))] CPUs=4
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=600 State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF State=UP
CONF
export SLURM_CONF=$folder/slurm.conf

daemons=()
# shellcheck disable=SC2317  # called by the trap
stop() {
  scancel --user="$(id -un)" 2>/dev/null || true
  for ((i = 0; i < 40; i++)); do  # KillWait is 30 s
    if [ -z "$(squeue --noheader 2>/dev/null)" ]; then break; fi
    sleep 1
  done
  for daemon in "${daemons[@]}"; do kill "$daemon" 2>/dev/null || true; done
  for daemon in "${daemons[@]}"; do wait "$daemon" || true; done
  rm -rf "$folder"
}
trap stop EXIT
trap 'exit 143' TERM INT

start() {
  "$@" >>"$folder/daemons.log" 2>&1 </dev/null &
  daemons+=($!)
}
start munged --foreground --force --key-file="$folder/munge.key" \
  --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
  --seed-file="$folder/munge.seed" --log-file="$folder/munged.log"
while ! [ -S "$folder/munge.socket" ] && kill -0 $!; do sleep 0.1; done
start slurmctld -D
for node in 127.0.0.1 127.0.0.2; do start slurmd -D -N "$node"; done

for ((i = 0; ; i++)); do
  if [ "$(sinfo --noheader --format=%D --states=idle --partition=low 2>/dev/null)" = 2 ]; then
    break
  elif ((i == 60)); then
    tail -n 20 "$folder"/*.log >&2
    echo "error: the two nodes did not come up in 60 s" >&2
    exit 1
  fi
  sleep 1
done
status=0
"$@" || status=$?
exit "$status"

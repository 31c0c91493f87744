#!/usr/bin/env bash
# synthct_jax.main on all hosts of a Cloud TPU slice. See launch/README.md.
set -euo pipefail

usage="usage: $0 TPU ZONE -- ARGUMENTS OF synthct_jax.main..."
if [ $# -lt 4 ] || [ "$3" != -- ]; then
  echo "$usage" >&2
  exit 2
fi
# shellcheck source=launch/wait.sh
. "$(dirname "${BASH_SOURCE[0]}")/wait.sh"
tpu=$1
zone=$2
shift 3
folder=${FOLDER:-synthct_jax}  # on the hosts, from the home folder

# In a session of its own: Ctrl-C is for us, not for the connection.
on_all_hosts() {
  exec setsid gcloud compute tpus tpu-vm ssh "$tpu" --zone="$zone" --worker=all \
    --command="$1"
}
printf -v arguments ' %q' "$@"
on_all_hosts "cd $folder && echo \$\$ >.process && PYTHONUNBUFFERED=1 \
exec .venv/bin/python -m synthct_jax.main$arguments" &
run=$!
# shellcheck disable=SC2317  # called by the trap
stop_all_hosts() { on_all_hosts "kill -TERM \$(cat $folder/.process)" & }
stop_with stop_all_hosts
wait_for "$run"

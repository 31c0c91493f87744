#!/usr/bin/env bash
# synthct_jax.main on all hosts of a Cloud TPU slice. See launch/README.md.
set -euo pipefail

usage="usage: $0 TPU ZONE -- ARGUMENTS OF synthct_jax.main..."
if [ $# -lt 4 ] || [ "$3" != -- ]; then
  echo "$usage" >&2
  exit 2
fi
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
# An orderly stop, which saves a checkpoint.
trap 'on_all_hosts "kill -TERM \$(cat $folder/.process)" & signalled=yes' TERM INT

while true; do
  signalled=
  status=0
  wait "$run" || status=$?
  # A trapped signal ends `wait` early; the processes may still be saving.
  if [ -z "$signalled" ]; then break; fi
done
exit "$status"

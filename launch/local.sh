#!/usr/bin/env bash
# N processes of synthct_jax.main on this machine, joined over loopback by JAX's
# coordinator. See launch/README.md.
set -euo pipefail

usage="usage: $0 N -- ARGUMENTS OF synthct_jax.main..."
if [ $# -lt 2 ] || [ "$2" != -- ] || ! [[ $1 =~ ^[1-9][0-9]*$ ]]; then
  echo "$usage" >&2
  exit 2
fi
count=$1
shift 2

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/wait.sh
. "$repository/launch/wait.sh"
if [ -z "${PYTHON:-}" ]; then
  PYTHON=$repository/.venv/bin/python
  if ! [ -x "$PYTHON" ]; then PYTHON=python3; fi
fi
if [ -z "${PORT:-}" ]; then
  PORT=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
fi
export JAX_COORDINATOR_ADDRESS=127.0.0.1:$PORT JAX_NUM_PROCESSES=$count
export PYTHONUNBUFFERED=1

workers=()
printers=()
# Background processes ignore SIGINT, so both signals are passed on as SIGTERM.
# shellcheck disable=SC2317  # called by the trap
stop_workers() {
  for worker in "${workers[@]}"; do kill -TERM "$worker" 2>/dev/null || true; done
}
stop_with stop_workers

for ((i = 0; i < count; i++)); do
  # The printer outlives a signal to the whole group, to show the workers' last words.
  exec {log}> >(trap '' TERM INT && exec sed -u "s/^/[$i] /")
  printers+=($!)
  JAX_PROCESS_ID=$i "$PYTHON" -m synthct_jax.main "$@" >&"$log" 2>&1 {log}>&- &
  workers+=($!)
  exec {log}>&-
done
if [ -n "$signalled" ]; then stop_workers; fi  # while the last ones were starting

worst=0
for worker in "${workers[@]}"; do
  status=0
  wait_for "$worker" || status=$?
  if ((status > worst)); then worst=$status; fi
done
for printer in "${printers[@]}"; do wait "$printer" || true; done
exit "$worst"

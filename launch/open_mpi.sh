#!/usr/bin/env bash
# Processes of synthct_jax.main under Open MPI's mpirun. See launch/README.md.
set -euo pipefail

usage="usage: $0 OPTIONS OF mpirun... -- ARGUMENTS OF synthct_jax.main..."
options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  options+=("$1")
  shift
done
if [ $# -lt 2 ]; then
  echo "$usage" >&2
  exit 2
fi
shift

if [ -z "${PYTHON:-}" ]; then
  PYTHON=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv/bin/python
  if ! [ -x "$PYTHON" ]; then PYTHON=python3; fi
fi
export PYTHON PYTHONUNBUFFERED=1

# mpirun answers SIGTERM by killing; what it passes on is SIGUSR1. Each process has a
# shell beside it that makes SIGTERM of it: the request for an orderly stop.
# shellcheck disable=SC2016  # expanded by the shell of each process
process='
  (trap "" USR1 && exec "$PYTHON" -m synthct_jax.main "$@") &
  main=$!
  trap "kill -TERM $main 2>/dev/null || true; signalled=yes" USR1 TERM INT
  while true; do
    signalled=
    status=0
    wait "$main" || status=$?
    if [ -z "$signalled" ]; then exit "$status"; fi
  done'
# Without --bind-to none each process would have one core.
mpirun --bind-to none --tag-output \
  -x PYTHON -x PYTHONUNBUFFERED "${options[@]}" \
  bash -c "$process" process "$@" &
mpirun=$!
trap 'kill -USR1 "$mpirun" 2>/dev/null || true; signalled=yes' TERM INT

while true; do
  signalled=
  status=0
  wait "$mpirun" || status=$?
  # A trapped signal ends `wait` early; the processes may still be saving.
  if [ -z "$signalled" ]; then break; fi
done
exit "$status"

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

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/wait.sh
. "$repository/launch/wait.sh"
if [ -z "${PYTHON:-}" ]; then
  PYTHON=$repository/.venv/bin/python
  if ! [ -x "$PYTHON" ]; then PYTHON=python3; fi
fi
export PYTHON PYTHONUNBUFFERED=1

# mpirun answers SIGTERM by killing; what it passes on is SIGUSR1. Each process has a
# shell beside it that makes SIGTERM of it: the request for an orderly stop.
# shellcheck disable=SC2016  # expanded by the shell of each process
process="$(<"$repository/launch/wait.sh")"'
  (trap "" USR1 && exec "$PYTHON" -m synthct_jax.main "$@") &
  main=$!
  stop_main() { kill -TERM "$main" 2>/dev/null || true; }
  stop_with stop_main
  wait_for "$main"'
# Without --bind-to none each process would have one core.
mpirun --bind-to none --tag-output \
  -x PYTHON -x PYTHONUNBUFFERED "${options[@]}" \
  bash -c "$process" process "$@" &
mpirun=$!
# shellcheck disable=SC2317  # called by the trap
stop_mpirun() { kill -USR1 "$mpirun" 2>/dev/null || true; }
stop_with stop_mpirun
wait_for "$mpirun"

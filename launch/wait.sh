# shellcheck shell=bash
# To be sourced by launchers, which wait for processes that may have to save first.

signalled=

# stop_with FUNCTION: at SIGTERM, Ctrl-C or SIGUSR1, mpirun's signal, call FUNCTION. It
# asks for an orderly stop, which saves a checkpoint.
stop_with() {
  # shellcheck disable=SC2064  # the name is meant, not the variable
  trap "signalled=yes; $1" TERM INT USR1
}

# wait_for PID: wait until the process has ended, and return its status. A trapped signal
# ends `wait` early, while the process may still be saving.
wait_for() {
  local status
  while true; do
    signalled=
    status=0
    wait "$1" || status=$?
    if [ -z "$signalled" ]; then return "$status"; fi
  done
}

#!/usr/bin/env bash
# The fast tests on Debian 13's Python 3.13 with the newest libraries that pip installs.
#
#     sudo tests/support/newest.sh FOLDER [PYTEST_ARGUMENTS]
#
# FOLDER gets a Debian system by debootstrap, 1.5 GB, unless it is there already.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:?expected a folder for a Debian system}
shift

if [ ! -e "$folder/usr/bin/python3" ]; then
  debootstrap --variant=minbase --include=python3-venv,ca-certificates,git,procps \
    trixie "$folder"
fi
mkdir -p "$folder/repository"
find "$folder/repository" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
git -C "$repository" ls-files -z --cached --others --exclude-standard |
  tar -C "$repository" --null --files-from=- --create | tar -C "$folder/repository" --extract

mounted=()
unmount() { for name in "${mounted[@]}"; do umount "$folder/$name"; done; }
trap unmount EXIT
for name in proc dev sys; do
  if ! mountpoint --quiet "$folder/$name"; then
    mount --bind "/$name" "$folder/$name"
    mounted+=("$name")
  fi
done
# shellcheck disable=SC2016  # the inner shell expands
chroot "$folder" /bin/bash -euc '
  cd /repository
  export HOME=/root PATH=/repository/.venv/bin:$PATH
  [ -e .venv ] || python3 -m venv .venv
  pip install --quiet --editable ".[dev]"
  python --version
  pip list 2>/dev/null | grep -E "^(jax|jaxlib|flax|optax|orbax-checkpoint|grain|numpy) "
  python -m pytest -q -m "not slow" "$@"
' bash "$@"

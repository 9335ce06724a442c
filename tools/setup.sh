#!/usr/bin/env bash
# Builds everything this repository needs: system packages, virtual environment, ROS 2 (from wheels where no
# distribution is sourced), the workspace. Idempotent: each step runs again only when its inputs changed, and a run
# that was interrupted is repaired by the next one.
#   PYTHON=python3.11 tools/setup.sh    use that interpreter (3.11 or 3.12; with a distribution also 3.10)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
venv=$root/.venv

say() { printf '==> %s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Two set-ups in one folder would undo each other's work. Git keeps this file's inode while nobody edits it.
exec 9< "$root/tools/setup.sh"
if command -v flock > /dev/null && ! flock -n 9; then
  say "another set-up runs in this folder; waiting for it"
  flock 9
fi

. tools/setup/system.sh
. tools/setup/environment.sh
. tools/setup/workspace.sh

find_python
find_ros
install_system_packages
prepare_venv
install_python_packages
build_workspace
if [ -n "$changed" ]; then
  say "ready: type '. ./env.sh' to use it in this shell"
fi

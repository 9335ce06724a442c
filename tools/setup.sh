#!/usr/bin/env bash
# Builds everything this repository needs: system packages, virtual environment, ROS 2 (from wheels where no
# distribution is sourced), the workspace. Idempotent: each step runs again only when its inputs changed, and a run
# that was interrupted is repaired by the next one.
#   PYTHON=python3.12 tools/setup.sh              use that interpreter (wheels: 3.11 to 3.13; distributions: 3.10 to 3.14)
#   MOBILE_VLA_ROS=kilted tools/setup.sh          ROS 2 of those wheels, jazzy or kilted
#   MOBILE_VLA_EXTRAS="sim dev" tools/setup.sh    on a distribution, add what not every robot needs: sim, onnx, rosbag,
#                                                 dev, or all (wheels come with all)
# An environment keeps its Python and its ROS 2 until one of these, or another sourced distribution, asks for others.
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

find_ros
find_python
check_python_and_ros
install_system_packages
prepare_venv
install_python_packages
build_workspace
check_policy
if [ -n "$changed" ]; then
  say "ready: type '. ./env.sh' to use it in this shell"
fi

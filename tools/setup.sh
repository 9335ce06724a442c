#!/usr/bin/env bash
# Build everything this repository needs: virtual environment, ROS 2 (from wheels where no distribution is
# sourced), the workspace. Idempotent: each step runs again only when its inputs changed.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
[ -d .venv ] || "$python" -m venv .venv
stamp=.venv/.requirements.sha256
want=$(cat requirements/*.txt tools/patch_cmake_paths.py | sha256sum)
if [ "$(cat $stamp 2>/dev/null)" != "$want" ]; then
  .venv/bin/pip install --quiet -r requirements/ros.txt -r requirements/app.txt -r requirements/dev.txt -c requirements/constraints.txt
  .venv/bin/python tools/patch_cmake_paths.py
  echo "$want" > $stamp
fi
export VIRTUAL_ENV=$PWD/.venv PATH=$PWD/.venv/bin:$PATH AMENT_PREFIX_PATH=$PWD/.venv CMAKE_PREFIX_PATH=$PWD/.venv
colcon build --symlink-install --event-handlers console_direct- --cmake-args -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$PWD/.venv/bin/python"
echo wheels > .venv/.ros

#!/usr/bin/env bash
# Runs a Python script or a package of the repository, or says in one line that there is none:
# run_script.sh SCRIPT [ARGUMENT …], for example tools/platforms table
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -f "$1/__main__.py" ]; then
  export PYTHONPATH="$(dirname "$1")${PYTHONPATH:+:$PYTHONPATH}"
  exec python -m "$(basename "$1")" "${@:2}"
elif ! [ -f "$1" ]; then
  echo "error: $1 does not exist in this version of the repository" >&2
  exit 1
fi
exec python "$@"

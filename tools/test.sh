#!/usr/bin/env bash
# Lint, types and tests, with one readable line at the end. In the environment of env.sh:
#   tools/test.sh         everything
#   tools/test.sh lint    ruff and mypy only
set -uo pipefail
cd "$(dirname "$0")/.."
failed=()
started=$SECONDS

step() {
  local name=$1
  shift
  printf '\n== %s\n' "$name"
  "$@" || failed+=("$name")
}

step "ruff check" ruff check --quiet .
step "ruff format" ruff format --check --quiet .
step "mypy --strict" python tools/typecheck.py
step "codespell" codespell
step "mkdocs build --strict" env NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
if [ "${1:-}" != lint ]; then
  # Rendering and learning on few cores: more threads only get into each other's way.
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  # Real processes over DDS share this machine with whatever else it does. A test that fails gets one second try, and the
  # summary names it as RERUN; what is broken fails twice. (colcon's name for the same thing: --retest-until-pass 1.)
  retry=()
  if python -c 'import pytest_rerunfailures' 2>/dev/null; then retry=(--reruns 1 -rR); fi
  workers=$(nproc)
  if [ "$workers" -gt 4 ]; then workers=4; fi
  # By file: what a file has trained or recorded for its tests is made once.
  step "pytest, $workers at a time" python -m pytest --quiet --durations=5 ${retry[@]+"${retry[@]}"} \
    -m "not alone" --numprocesses "$workers" --dist loadfile
  step "pytest, one at a time" python -m pytest --quiet --durations=5 ${retry[@]+"${retry[@]}"} -m alone
fi

printf '\n'
if [ ${#failed[@]} = 0 ]; then
  echo "OK: ${1:-everything} passed in $((SECONDS - started)) s"
else
  (IFS=,; echo "FAILED: ${failed[*]} (after $((SECONDS - started)) s)" >&2)
  exit 1
fi

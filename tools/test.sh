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
if [ "${1:-}" != lint ]; then
  # Rendering and learning on few cores: more threads only get into each other's way.
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  step "pytest" python -m pytest --quiet --durations=5
fi

printf '\n'
if [ ${#failed[@]} = 0 ]; then
  echo "OK: ${1:-everything} passed in $((SECONDS - started)) s"
else
  (IFS=,; echo "FAILED: ${failed[*]} (after $((SECONDS - started)) s)" >&2)
  exit 1
fi

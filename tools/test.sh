#!/usr/bin/env bash
# Lint, types and tests, with one readable line at the end. In the environment of env.sh:
#   tools/test.sh         everything
#   tools/test.sh lint    all but the tests
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
  MOBILE_VLA_TEST_NOTES=$(mktemp)
  export MOBILE_VLA_TEST_NOTES
  trap 'rm -f "$MOBILE_VLA_TEST_NOTES"' EXIT
  # nproc answers OMP_NUM_THREADS where that is set.
  workers=$(env -u OMP_NUM_THREADS nproc)
  if [ "$workers" -gt 4 ]; then workers=4; fi
  # By file: what a file has trained or recorded for its tests is made once.
  step "pytest, $workers at a time" python -m pytest --quiet --durations=10 \
    -m "not alone" --numprocesses "$workers" --dist loadfile
  # Real processes over DDS share this machine with whatever else it does: these tests, and only these, get a second
  # try. What is broken fails twice. They mostly wait, so two at a time are no burden; with more, timing suffers.
  step "pytest, nodes and pages" python -m pytest --quiet --durations=10 -n 2 --dist loadfile --no-loadscope-reorder \
    --reruns 1 -m alone
  step "skipped and retried" python tools/test_notes.py "$MOBILE_VLA_TEST_NOTES"
fi

printf '\n'
if [ ${#failed[@]} = 0 ]; then
  echo "OK: ${1:-everything} passed in $((SECONDS - started)) s"
else
  (IFS=,; echo "FAILED: ${failed[*]} (after $((SECONDS - started)) s)" >&2)
  exit 1
fi

# The virtual environment and its Python packages. Sourced by setup.sh.
changed=""

prepare_venv() {
  local why=""
  if [ -d "$venv" ]; then
    if [ ! -f "$venv/.origin" ]; then
      why="it was not finished"
    elif [ "$(cat "$venv/.origin")" != "$root $python_version $ros" ]; then
      why="it was made for $(cat "$venv/.origin"), and this is $root $python_version $ros"
    elif ! "$venv/bin/python" -S -c '' 2> /dev/null; then
      why="its Python no longer runs"
    fi
    [ -n "$why" ] || return 0
    say "Removing the virtual environment and the built workspace: $why"
    rm -rf "$venv" build install log
  fi
  changed=1
  say "Virtual environment: Python $python_version, ROS 2 from $ros"
  # A distribution's rclpy and torch belong to the platform: the environment only adds to them.
  if [ "$ros" = wheels ]; then
    "$python" -m venv "$venv"
  else
    "$python" -m venv --system-site-packages "$venv"
  fi
  printf '%s\n' "$ros" > "$venv/.ros"
  touch "$venv/.system"
  printf '%s\n' "$root $python_version $ros" > "$venv/.origin"
}

install_python_packages() {
  local want arguments
  want=$(cat requirements/*.txt tools/patch_cmake_paths.py tools/setup/*.py | sha256sum)
  [ "$(cat "$venv/.requirements" 2> /dev/null)" != "$want" ] || return 0
  changed=1
  mkdir -p log
  forget_half_installed
  touch "$venv/.installing"
  if [ "$ros" = wheels ]; then
    arguments="-r requirements/ros.txt -r requirements/app.txt -r requirements/dev.txt -c requirements/constraints.txt"
    say "Python packages: about 200, 2 GB on disk; one to three minutes, longer on a slow line"
  else
    "$venv/bin/python" tools/setup/platform_requirements.py requirements "$venv" || fail "the requirements for $ros could not be worked out"
    arguments="-r $venv/platform-requirements.txt -c $venv/platform-constraints.txt"
    say "Python packages that $ros does not bring: a few minutes"
  fi
  pip_install $arguments
  if [ "$ros" = wheels ]; then
    "$venv/bin/python" tools/patch_cmake_paths.py
  fi
  rm -f "$venv/.installing"
  printf '%s\n' "$want" > "$venv/.requirements"
}

# pip believes in a package whose metadata was copied, even when it was killed before the end. RECORD comes last.
forget_half_installed() {
  local info
  [ -f "$venv/.installing" ] || return 0
  say "An earlier installation was interrupted: repairing it"
  for info in "$venv"/lib/python*/site-packages/*.dist-info; do
    [ -f "$info/RECORD" ] || rm -rf "$info"
  done
}

# Runs pip with one line of progress; everything it says goes to log/setup-pip.log.
pip_install() {
  local shown=0 line name
  set +e
  PYTHONPATH='' env -u _ROS_WHEELS_BOOTSTRAP_COMPLETE PIP_DISABLE_PIP_VERSION_CHECK=1 \
    "$venv/bin/python" -m pip install --progress-bar off "$@" 2>&1 | tee log/setup-pip.log | while read -r line; do
    case $line in
      Collecting* | "Requirement already satisfied"*)
        shown=$((shown + 1))
        name=$(sed -E 's/^(Collecting|Requirement already satisfied:) ([A-Za-z0-9._-]+).*/\2/' <<< "$line")
        if [ -t 1 ]; then
          printf '\r    fetched %3d: %-40.40s' "$shown" "$name"
        elif [ $((shown % 40)) = 0 ]; then
          printf '    fetched %d packages\n' "$shown"
        fi
        ;;
      "Installing collected packages"*)
        [ ! -t 1 ] || printf '\n'
        printf '    unpacking %d packages\n' "$(tr ',' '\n' <<< "$line" | wc -l)"
        ;;
      ERROR:*)
        [ ! -t 1 ] || printf '\n'
        printf '    %s\n' "$line"
        ;;
    esac
  done
  local status=${PIPESTATUS[0]}
  set -e
  [ ! -t 1 ] || printf '\n'
  [ "$status" = 0 ] || fail "pip could not install the packages (status $status); read log/setup-pip.log, then run make setup again"
}

# The virtual environment and its Python packages. Sourced by setup.sh.
changed=""

prepare_venv() {
  local why=""
  if [ -d "$venv" ]; then
    if [ ! -f "$venv/.origin" ]; then
      why="it was not finished"
    elif [ "$(made_for)" != "$root $python_version $ros" ]; then
      why="it was made for $(made_for), and this is $root $python_version $ros"
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
  case $ros in
    wheels-*) "$python" -m venv "$venv" ;;
    *) "$python" -m venv --system-site-packages "$venv" ;;
  esac
  # The pip of an old Python lacks what pip's resolver has learned since.
  mkdir -p log
  pip_install --upgrade 'pip>=24.2'
  case $ros in
    wheels-*) echo wheels > "$venv/.ros" ;;
    *) printf '%s\n' "$ros" > "$venv/.ros" ;;
  esac
  touch "$venv/.system"
  printf '%s\n' "$root $python_version $ros" > "$venv/.origin"
}

# What the environment was made for: its folder, Python and ROS 2; nothing if there is none. Environments that were made
# before there was a choice hold Kilted's wheels.
made_for() { sed -E 's/ wheels$/ wheels-kilted/' "$venv/.origin" 2> /dev/null || true; }

ros_of_venv() {
  local origin
  origin=$(made_for)
  printf '%s\n' "${origin##* }"
}

# Sets `extras`: all with wheels; on a distribution those of earlier runs and those asked for now.
find_extras() {
  extras="$(cat "$venv/.extras" 2> /dev/null || true) ${MOBILE_VLA_EXTRAS:-}"
  case $ros in
    wheels-*) extras=all ;;
  esac
  extras=$(tr ' ' '\n' <<< "$extras" | sed -E 's/^all$/sim\nonnx\nrosbag\ndev/' | sort -u | xargs)
}

install_python_packages() {
  local want
  find_extras
  want=$({ find requirements tools/setup/plan.py tools/patch_cmake_paths.py -type f -print0 | sort -z | xargs -0 cat; echo "$extras"; } | sha256sum)
  [ "$(cat "$venv/.requirements" 2> /dev/null)" != "$want" ] || return 0
  changed=1
  mkdir -p log
  forget_half_installed
  touch "$venv/.installing"
  # shellcheck disable=SC2086  # extras are words
  env -u _ROS_WHEELS_BOOTSTRAP_COMPLETE "$venv/bin/python" tools/setup/plan.py requirements "$venv" "$ros" $extras \
    || fail "the Python packages for $ros could not be worked out"
  case $ros in
    wheels-*) say "Python packages: about 200, 2 GB on disk; one to three minutes, longer on a slow line" ;;
    *) say "Python packages that $ros does not bring (extras: ${extras:-none}): a few minutes" ;;
  esac
  pip_install -r "$venv/requirements.txt" -c "$venv/constraints.txt"
  case $ros in
    wheels-*) "$venv/bin/python" tools/patch_cmake_paths.py ;;
  esac
  rm -f "$venv/.installing" "$venv/.checked"
  printf '%s\n' "$extras" > "$venv/.extras"
  printf '%s\n' "$want" > "$venv/.requirements"
}

# A policy is built, saved, loaded, and predicts once; after every installation, not on every run.
check_policy() {
  [ ! -f "$venv/.checked" ] || return 0
  (. ./env.sh && python tools/setup/check.py) || fail "the set-up is complete but cannot run a policy; read the line above"
  touch "$venv/.checked"
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

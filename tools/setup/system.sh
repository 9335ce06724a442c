# What the machine must bring: an interpreter, perhaps a ROS 2 distribution, a compiler, EGL. Sourced by setup.sh.

# The wheels that a new environment gets.
default_wheels=jazzy

# Sets `python` to an interpreter of a supported version: $PYTHON, that of an environment whose ROS 2 stays, or the first
# that fits the wheels or the distribution, else the first. After find_ros.
find_python() {
  local candidate version versions seen candidates=(python3 python3.12 python3.11 python3.13 python3.10 python3.14)
  local fitting=("3.10 3.11 3.12 3.13 3.14")
  [ "${ros#wheels-}" = "$ros" ] || fitting=("3.11 3.12 3.13" "${fitting[@]}")
  [ "$(ros_of_venv)" != "$ros" ] || candidates=("$venv/bin/python" "${candidates[@]}")
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for versions in "${fitting[@]}"; do
    seen=""
    for candidate in "${candidates[@]}"; do
      # -S: with its packages, a Python of ROS wheels would start itself once more.
      version=$("$candidate" -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null) || continue
      if [[ " $versions " != *" $version "* ]]; then
        seen="$seen $candidate is $version;"
        continue
      fi
      python=$(command -v "$candidate")
      python_version=$version
      # The environment's own python3 is also first on the path where it is activated: go back to the one that made it.
      if [ "$python" -ef "$venv/bin/python3" ] || [ "$(dirname "$python")" = "$venv/bin" ]; then
        python=$("$python" -S -c 'import os, sys; print(os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2]))')
      fi
      return
    done
  done
  fail "Python 3.10 to 3.14 is needed;${seen:- ${PYTHON:-python3} does not run;} install python3.11 or name one: make setup PYTHON=/path/to/python3.11"
}

# Sets `ros` to the prefix of the distribution that is sourced in the calling shell, or to `wheels-jazzy` or
# `wheels-kilted` (MOBILE_VLA_ROS). Where neither is asked for, the environment keeps what it was made with.
find_ros() {
  local real prefix
  ros=wheels-${MOBILE_VLA_ROS:-$default_wheels}
  real=$(command -v ros2 || true)
  if [ -n "${ROS_DISTRO:-}" ] && [ -n "$real" ] && [ "${real#"$root"/}" = "$real" ]; then
    IFS=: read -ra prefixes <<< "${AMENT_PREFIX_PATH:-}"
    for prefix in "${prefixes[@]}"; do
      if [ -f "$prefix/share/rclpy/package.xml" ]; then
        ros=$prefix
      fi
    done
    [ "${ros#wheels-}" = "$ros" ] || fail "ROS_DISTRO is $ROS_DISTRO but no folder of AMENT_PREFIX_PATH holds rclpy; source /opt/ros/$ROS_DISTRO/setup.bash, or unset ROS_DISTRO to use ROS 2 from wheels"
  elif [ -z "${MOBILE_VLA_ROS:-}" ] && [ -n "$(ros_of_venv)" ]; then
    ros=$(ros_of_venv)
    case $ros in
      wheels-*) ;;
      *) source_distribution ;;
    esac
  fi
}

# Sources the distribution of an environment whose user has not.
source_distribution() {
  [ -f "$ros/setup.bash" ] || fail "the environment was made for ROS 2 of $ros, which has no setup.bash; source your distribution, or use wheels: make setup MOBILE_VLA_ROS=$default_wheels"
  set +u
  . "$ros/setup.bash"
  set -u
}

# Stops where `python` and `ros` do not go together. The wheels are for x86-64, and their messages need numpy 2.2, which
# exists for Python 3.11 to 3.13.
check_python_and_ros() {
  case $ros in
    wheels-jazzy | wheels-kilted) ;;
    wheels-*) fail "MOBILE_VLA_ROS is ${MOBILE_VLA_ROS}; there are wheels of jazzy and kilted" ;;
    *)
      "$python" -c 'import rclpy' 2> /dev/null || fail "$python cannot import rclpy of $ros; name the distribution's Python: make setup PYTHON=/usr/bin/python3"
      return
      ;;
  esac
  [ "$(uname -m)" = x86_64 ] || fail "ROS 2 from wheels is for x86-64, this machine is $(uname -m); install a ROS 2 distribution and source its setup.bash"
  case $python_version in
    3.10 | 3.14) fail "without a ROS 2 distribution Python 3.11, 3.12 or 3.13 is needed, $python is $python_version; name one: make setup PYTHON=/path/to/python3.12" ;;
  esac
}

have_library() { PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2> /dev/null | grep -q "$1"; }

# The Debian packages that are missing, one a line.
missing_system_packages() {
  command -v g++ > /dev/null || echo g++
  command -v make > /dev/null || echo make
  command -v cmake > /dev/null || echo cmake
  "$python" -c 'import ensurepip, venv' 2> /dev/null || echo "python$python_version-venv"
  "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' \
    || echo "python$python_version-dev"
  have_library 'libEGL\.so\.1' || echo libegl1
  have_library 'libGL\.so\.1' || echo libgl1
  compgen -G '/usr/lib/*/dri/*_dri.so' > /dev/null || compgen -G '/usr/lib*/dri/*_dri.so' > /dev/null || echo libgl1-mesa-dri
}

install_system_packages() {
  local packages sudo=""
  # The check takes a quarter of a second: not on every run.
  [ ! -f "$venv/.system" ] || return 0
  packages=$(missing_system_packages | tr '\n' ' ')
  packages=${packages% }
  [ -n "$packages" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    sudo="sudo -n"
    sudo -n true 2> /dev/null || fail "system packages are missing; install them first: sudo apt-get install $packages"
  fi
  command -v apt-get > /dev/null || fail "system packages are missing (their Debian names: $packages); install them first"
  say "System packages: $packages"
  $sudo apt-get update -qq || true
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $packages > /dev/null \
    || fail "apt-get could not install: $packages"
}

# Puts the workspace into this shell: `. ./env.sh` (bash and zsh: `. /any/path/env.sh`, from any directory;
# dash and other plain shells cannot know where a sourced file lies: from the repository's root only).
# Sourcing it twice changes nothing more. Written for every POSIX shell: no arrays, no `local`, no exit.

if [ -n "${BASH_VERSION:-}" ]; then
  _mvla_root=$(CDPATH= cd -- "$(dirname -- "${BASH_SOURCE:-$0}")" > /dev/null && pwd -P)
elif [ -n "${ZSH_VERSION:-}" ]; then
  _mvla_root=$(eval 'CDPATH= cd -- "$(dirname -- "${(%):-%x}")"' > /dev/null && pwd -P)
else
  _mvla_root=$(pwd -P)
fi

# _mvla_prepend NAME DIR: DIR becomes the first entry of the list NAME, and its only one.
_mvla_prepend() {
  eval "_mvla_rest=\${$1:-}"
  _mvla_list=$2
  while [ -n "$_mvla_rest" ]; do
    _mvla_item=${_mvla_rest%%:*}
    case $_mvla_rest in
      *:*) _mvla_rest=${_mvla_rest#*:} ;;
      *) _mvla_rest= ;;
    esac
    [ -z "$_mvla_item" ] || [ "$_mvla_item" = "$2" ] || _mvla_list=$_mvla_list:$_mvla_item
  done
  eval "export $1=\$_mvla_list"
}

# The Python of ROS wheels starts itself once more with LD_LIBRARY_PATH set, and marks that in the environment. A
# shell that inherited the mark from another environment would load that one's libraries: forget both.
_mvla_forget_other_wheels() {
  unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
  _mvla_rest=${LD_LIBRARY_PATH:-}
  _mvla_list=
  while [ -n "$_mvla_rest" ]; do
    _mvla_item=${_mvla_rest%%:*}
    case $_mvla_rest in
      *:*) _mvla_rest=${_mvla_rest#*:} ;;
      *) _mvla_rest= ;;
    esac
    case $_mvla_item in
      */site-packages/ros_*.libs) ;;
      *) for _mvla_libs in "$_mvla_item"/python3.*/site-packages/ros_wheels_bootstrapper; do
           [ -d "$_mvla_libs" ] || _mvla_list=${_mvla_list:+$_mvla_list:}$_mvla_item
         done ;;
    esac
  done
  if [ -n "$_mvla_list" ]; then export LD_LIBRARY_PATH="$_mvla_list"; else unset LD_LIBRARY_PATH; fi
}

_mvla_activate() {
  # Word splitting and unmatched patterns as in every other shell, until this function returns.
  [ -z "${ZSH_VERSION:-}" ] || emulate -L sh
  VIRTUAL_ENV=$_mvla_root/.venv
  export VIRTUAL_ENV
  unset PYTHONHOME
  _mvla_forget_other_wheels
  _mvla_prepend PATH "$VIRTUAL_ENV/bin"
  # Written by tools/setup.sh: `wheels`, or the prefix of the distribution the workspace was built against.
  read -r _mvla_ros < "$VIRTUAL_ENV/.ros"
  if [ "$_mvla_ros" = wheels ]; then
    case :${AMENT_PREFIX_PATH:-}: in *":$VIRTUAL_ENV:"*) ;; *) _mvla_prepend AMENT_PREFIX_PATH "$VIRTUAL_ENV" ;; esac
    case :${CMAKE_PREFIX_PATH:-}: in *":$VIRTUAL_ENV:"*) ;; *) _mvla_prepend CMAKE_PREFIX_PATH "$VIRTUAL_ENV" ;; esac
    # One machine and many developers: nobody's robot is to be driven by somebody's simulation.
    export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
  fi
  # colcon's script sources the distribution's as well when the workspace was built against one. It reads unset
  # variables.
  COLCON_CURRENT_PREFIX=$_mvla_root/install
  case $- in
    *u*) _mvla_nounset=1; set +u ;;
    *) _mvla_nounset= ;;
  esac
  . "$COLCON_CURRENT_PREFIX/setup.sh"
  [ -z "$_mvla_nounset" ] || set -u
  # colcon leaves a trailing colon, which would mean the current directory.
  [ -z "${LD_LIBRARY_PATH:-}" ] || export LD_LIBRARY_PATH="${LD_LIBRARY_PATH%:}"
  # The virtual environment's commands first, whatever a distribution put before them.
  _mvla_prepend PATH "$VIRTUAL_ENV/bin"
  # The stand-in for ros2 comes last on the path: a real ros2 wins wherever it is.
  case :$PATH: in
    *":$_mvla_root/tools/ros2_lite/bin:"*) ;;
    *) export PATH="$PATH:$_mvla_root/tools/ros2_lite/bin" ;;
  esac
  # MuJoCo renders without a display; read when mujoco is imported.
  export MUJOCO_GL="${MUJOCO_GL:-egl}"
}

if ! [ -f "$_mvla_root/env.sh" ] || ! [ -f "$_mvla_root/tools/setup.sh" ]; then
  echo "env.sh: this shell does not tell where a sourced file lies; cd into the repository first" >&2
  _mvla_status=1
elif ! [ -f "$_mvla_root/.venv/.ros" ] || ! [ -f "$_mvla_root/install/setup.sh" ]; then
  echo "env.sh: $_mvla_root is not set up yet; run 'make -C $_mvla_root setup' first" >&2
  _mvla_status=1
else
  _mvla_activate
  _mvla_status=$?
fi
unset -f _mvla_prepend _mvla_forget_other_wheels _mvla_activate
unset _mvla_root _mvla_rest _mvla_list _mvla_item _mvla_libs _mvla_ros _mvla_nounset
if [ "$_mvla_status" = 0 ]; then unset _mvla_status; return 0; else unset _mvla_status; return 1; fi

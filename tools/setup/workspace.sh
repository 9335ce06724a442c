# Builds the packages under src/ that changed. Sourced by setup.sh.

# What a built package depends on. Python modules are not in it: --symlink-install runs them from src/.
package_hash() {
  {
    find "$1" -type f \( -name package.xml -o -name 'setup.*' -o -name CMakeLists.txt -o -name '*.msg' \
      -o -name '*.srv' -o -name '*.action' -o -path '*/resource/*' \) -not -path '*.egg-info/*' -print0 | sort -z | xargs -0 sha256sum
    # Data files are linked one by one: a new one needs a build, a changed one does not.
    find "$1" -type f -not -name '*.py' -not -name '*.pyc' -not -path '*.egg-info/*' -not -path '*/test/*' | sort
    case $1 in
      */mobile_vla_bringup) find launch config src/mobile_vla_bringup -type f -not -name '*.pyc' | sort ;;
    esac
    printf '%s\n' "$2"
  } | sha256sum
}

build_workspace() {
  local package folder hash want="" names=()
  local -A hashes=()
  local toolchain
  toolchain=$(cat "$venv/.requirements")
  for folder in src/*/package.xml; do
    folder=$(dirname "$folder")
    package=$(basename "$folder")
    hash=$(package_hash "$folder" "$toolchain")
    hashes[$package]=$hash
    if [ "$(cat "install/$package/.built" 2> /dev/null)" != "$hash" ]; then
      names+=("$package")
    fi
  done
  forget_half_built
  [ "${#names[@]}" != 0 ] || [ ! -f install/setup.sh ] || return 0
  changed=1
  say "Workspace: building ${#names[@]} of ${#hashes[@]} packages (${names[*]}); up to a minute for the messages, seconds for the rest"
  mkdir -p build install log
  for package in "${names[@]}"; do
    rm -f "install/$package/.built"
  done
  printf '%s\n' "${names[@]}" > build/.building
  run_colcon "${names[@]}"
  for package in "${names[@]}"; do
    printf '%s\n' "${hashes[$package]}" > "install/$package/.built"
  done
  rm -f build/.building
  link_commands
}

# Packages whose build was cut off, and packages that are no longer in src/.
forget_half_built() {
  local package
  if [ -f build/.building ]; then
    while read -r package; do
      [ -f "install/$package/.built" ] || rm -rf "build/${package:?}" "install/${package:?}"
    done < build/.building
  fi
  for package in install/mobile_vla_*; do
    package=$(basename "$package")
    [ -f "src/$package/package.xml" ] || [ "$package" = 'mobile_vla_*' ] || rm -rf "build/$package" "install/$package"
  done
}

# colcon runs on the environment's Python, so that the scripts it installs do, too.
run_colcon() {
  (
    export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
    unset _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_PRELOAD
    if [ "$(cat "$venv/.ros")" = wheels ]; then
      # What the calling shell has sourced is not to be written into this workspace as its underlay.
      unset PYTHONPATH COLCON_PREFIX_PATH LD_LIBRARY_PATH
      export AMENT_PREFIX_PATH=$venv CMAKE_PREFIX_PATH=$venv
    fi
    # colcon would pass -l, too: make then starts one job at a time on a machine that is busy with other work.
    MAKEFLAGS=-j$(nproc)
    export MAKEFLAGS
    "$venv/bin/python" -c 'import sys; from colcon_core.command import main; sys.exit(main())' \
      build --symlink-install --event-handlers console_direct- console_stderr- --packages-select "$@" \
      --cmake-args -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$venv/bin/python" > log/setup-build.log 2>&1
  ) || {
    grep -hE '(^|[^a-z])([Ee]rror|Error|CMake Error|Failed)' log/setup-build.log log/latest_build/*/stderr.log 2> /dev/null | head -20 >&2
    fail "the build failed; read log/setup-build.log and log/latest_build/, then run make setup again"
  }
}

# The commands of the packages (mobile-vla-data and the like) beside python: on the path after `. ./env.sh`.
link_commands() {
  local command
  find "$venv/bin" -name 'mobile-vla-*' -type l -delete
  for command in install/*/lib/*/mobile-vla-*; do
    [ ! -f "$command" ] || ln -sf "../../$command" "$venv/bin/$(basename "$command")"
  done
}

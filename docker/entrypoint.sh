#!/usr/bin/env bash
# Puts the workspace into the environment and becomes the command, which so receives Docker's SIGTERM itself.
set -eu
# env.sh reads the folder it lies in from its own name.
. /opt/mobile_vla/env.sh
exec "$@"

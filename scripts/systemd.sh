#!/bin/sh
# Installs systemd's programs through apt where they are missing, as in a container, for the checks of
# deploy/systemd; starts nothing.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh
. scripts/quiet.sh

lock scripts/systemd.sh
if command -v systemd-analyze >/dev/null 2>&1; then exit 0; fi
instructions="systemd-analyze is not installed. As root run \`apt-get install systemd\`."
as_root true || refuse "$instructions"
forbid_starting
install_packages systemd || refuse "$instructions"
command -v systemd-analyze >/dev/null 2>&1 ||
    refuse "The package systemd brought no systemd-analyze."

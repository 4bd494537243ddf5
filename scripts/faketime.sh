#!/bin/sh
# Installs libfaketime through apt where it is missing: a library that gives single processes
# another clock. Nothing is started, and no clock of this machine changes.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

found() {
    for library in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1; do
        [ ! -e "$library" ] || return 0
    done
    return 1
}

lock scripts/faketime.sh
! found || exit 0
instructions="libfaketime is not installed. As root run \`apt-get install libfaketime\`."
as_root true || refuse "$instructions"
install_packages libfaketime || refuse "$instructions"
found || refuse "The package libfaketime brought no libfaketimeMT.so.1."

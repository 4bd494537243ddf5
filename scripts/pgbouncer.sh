#!/bin/sh
# Installs PgBouncer through apt where it is missing; starts nothing, now or at the next boot. The
# tests run poolers of their own.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh
. scripts/quiet.sh

lock scripts/pgbouncer.sh
[ ! -x /usr/sbin/pgbouncer ] || exit 0
instructions="PgBouncer is not installed. As root run \`apt-get install pgbouncer\`, and
\`systemctl disable --now pgbouncer\` if it should not run as a service."
as_root true || refuse "$instructions"
forbid_starting
install_packages pgbouncer || refuse "$instructions"
{
    as_root update-rc.d pgbouncer disable
    as_root deb-systemd-helper disable pgbouncer.service
    as_root service pgbouncer stop
} >/dev/null 2>&1 || true
[ -x /usr/sbin/pgbouncer ] || refuse "The package pgbouncer brought no /usr/sbin/pgbouncer."

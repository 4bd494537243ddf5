#!/bin/sh
# Puts Prometheus's programs into .prometheus, unless the system has them. The package is unpacked
# and not installed, so that no service is enabled or started, and nobody has to be root.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

folder=.prometheus

# Debian's package lists may be missing, and only root may fetch those.
download() {
    apt-get --quiet download prometheus && return
    as_root apt-get --quiet update && apt-get --quiet download prometheus
}

lock scripts/prometheus.sh
if command -v prometheus && command -v promtool; then exit 0; fi >/dev/null
[ ! -x "$folder/usr/bin/promtool" ] || exit 0

instructions="Prometheus is missing. Unpack it so that its programs are in PATH, or, on Debian, as
root run \`apt-get install --no-install-recommends prometheus\`, and \`systemctl disable --now
prometheus\` if it should not run as a service."
command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || refuse "$instructions"
new=$(mktemp -d "$PWD/$folder.XXXXXX")
trap 'rm -rf "$new"' EXIT
say "fetching prometheus through apt ..."
(cd "$new" && download >apt.log 2>&1) || {
    cat "$new/apt.log" >&2
    refuse "$instructions"
}
dpkg-deb --extract "$new"/prometheus_*.deb "$new/tree"
"$new/tree/usr/bin/promtool" --version >/dev/null 2>&1 || refuse "$instructions"
echo "*" >"$new/tree/.gitignore"
rm -rf "$folder"
mv "$new/tree" "$folder"

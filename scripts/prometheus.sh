#!/bin/sh
# Puts the programs of Prometheus and Alertmanager into .prometheus, unless the system has them. The
# packages are unpacked and not installed, so that no service is enabled or started, and nobody has
# to be root.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

folder=.prometheus/usr/bin

# has PROGRAM...: whether each is in PATH or in the folder.
has() {
    for program; do
        command -v "$program" || [ -x "$folder/$program" ] || return 1
    done >/dev/null
}

# Debian's package lists may be missing, and only root may fetch those.
download() {
    apt-get --quiet download "$@" && return
    as_root apt-get --quiet update && apt-get --quiet download "$@"
}

lock scripts/prometheus.sh
missing=
has prometheus promtool || missing=prometheus
has alertmanager amtool || missing="$missing prometheus-alertmanager"
[ "$missing" ] || exit 0

instructions="Programs of Prometheus or Alertmanager are missing (prometheus, promtool, alertmanager,
amtool). Unpack both so that they are in PATH, or try again on Debian, from whose packages this script
takes them:$missing"
command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || refuse "$instructions"
new=$(mktemp -d "$PWD/.prometheus.XXXXXX")
trap 'rm -rf "$new"' EXIT
say "fetching $missing through apt ..."
# shellcheck disable=SC2086 # one argument a package
(cd "$new" && download $missing >apt.log 2>&1) || {
    cat "$new/apt.log" >&2
    refuse "$instructions"
}
for package in "$new"/*.deb; do dpkg-deb --extract "$package" "$new/tree"; done
programs=$new/tree/usr/bin
for program in "$programs"/*; do
    "$program" --version >/dev/null 2>&1 || refuse "$instructions"
done
# Debian's name for it; everybody else's is alertmanager.
[ ! -e "$programs/prometheus-alertmanager" ] ||
    mv "$programs/prometheus-alertmanager" "$programs/alertmanager"
# Debian's Alertmanager looks for its templates in /usr/share, where only an installed package has them:
# it is to look in the same folder below the one in which it is started, .prometheus.
templates=usr/share/prometheus/alertmanager
if [ -d "$new/tree/$templates" ]; then
    LC_ALL=C sed -i "s#/$templates#usr//${templates#usr/}#g" "$programs/alertmanager"
    mkdir -p ".prometheus/$templates"
    cp "$new/tree/$templates"/*.tmpl ".prometheus/$templates"
fi
mkdir -p "$folder"
echo "*" >.prometheus/.gitignore
mv -f "$programs"/* "$folder"

#!/bin/sh
# Puts RabbitMQ 4.0 and 4.3 into .rabbitmq-4, for the tests that compare series. They are Debian's
# packages for later releases of it, unpacked and not installed: no service is enabled or started,
# and the system's own RabbitMQ stays as it is. `.rabbitmq-4/4.0` is to 4.0 what /usr/lib/rabbitmq
# is to the system's.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

folder=.rabbitmq-4
instructions="The tests that compare series can also use installations of your own:
RABBITMQ_HOMES=4.0=/folder,4.3=/folder, each a folder with bin/rabbitmq-server."

cannot() {
    refuse "RabbitMQ 4 can't be had here: $1.
$instructions"
}

# Where this machine gets Debian's packages from. Empty if it never fetched Debian's lists.
mirror() {
    apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian Debian //p' | head -n 1
}

# apt_elsewhere FOLDER WORD...: apt-get with lists and a cache of its own, and nothing installed.
apt_elsewhere() {
    apt=$1
    shift
    apt-get --quiet --yes \
        -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" \
        -o Acquire::Languages=none -o APT::Install-Recommends=false -o APT::Sandbox::User=root \
        "$@" </dev/null >>"$apt/log" 2>&1
}

# download SUITE FOLDER: the packages, and the shell and tools that the start scripts call.
download() {
    mkdir -p "$2/lists/partial" "$2/archives/partial"
    : >"$2/status"
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    [ ! -r "$keys" ] || signed="[signed-by=$keys] "
    echo "deb ${signed:-}$from $1 main" >"$2/sources.list"
    apt_elsewhere "$2" update && apt_elsewhere "$2" install --download-only \
        rabbitmq-server libc-bin coreutils dash sed grep mawk
}

# unpack FOLDER: beneath FOLDER/tree. Older packages still name folders that are links today.
unpack() {
    for name in bin sbin lib lib64; do
        mkdir -p "$1/tree/usr/$name"
        ln -s "usr/$name" "$1/tree/$name"
    done
    for package in "$1"/archives/*.deb; do dpkg-deb --extract "$package" "$1/tree"; done
    # What the packages' own scripts would have made.
    ln -sf dash "$1/tree/usr/bin/sh"
    ln -sf mawk "$1/tree/usr/bin/awk"
}

# programs HOME: what /usr/lib/rabbitmq/bin has elsewhere. Signals reach the broker itself, because
# each step becomes the next.
programs() {
    mkdir "$1/bin"
    cat >"$1/bin/inside" <<'INSIDE'
#!/bin/sh
# Runs the program of this name with the `usr` beside this folder in the place of /usr, which
# nobody else sees.
set -eu
usr=$(readlink -f "$(dirname "$(readlink -f "$0")")/../usr")
case ${0##*/} in
    epmd | erl) program=/usr/bin/${0##*/} ;;
    *) program=/usr/lib/rabbitmq/bin/${0##*/} ;;
esac
user=
[ "$(id -u)" = 0 ] || user="--user --map-root-user"
exec unshare $user --mount /bin/sh -euc 'mount --bind "$0" /usr; exec "$@"' "$usr" "$program" "$@"
INSIDE
    chmod 755 "$1/bin/inside"
    for name in epmd erl rabbitmq-diagnostics rabbitmq-plugins rabbitmq-queues rabbitmq-server \
        rabbitmq-upgrade rabbitmqctl; do
        ln -s inside "$1/bin/$name"
    done
}

# fetch SERIES SUITE
fetch() {
    [ ! -x "$folder/$1/bin/rabbitmq-server" ] || return 0
    say "fetching RabbitMQ $1 through apt ..."
    download "$2" "$new/$2" || {
        cat "$new/$2/log" >&2
        cannot "apt does not get at the packages of Debian's release \`$2\`"
    }
    unpack "$new/$2"
    mkdir "$new/$1"
    mv "$new/$2/tree/usr" "$new/$1/usr"
    programs "$new/$1"
    "$new/$1/bin/erl" -noshell -eval 'halt(0).' >"$new/said" 2>&1 || {
        cat "$new/said" >&2
        cannot "its programs don't run, which takes root or unprivileged user namespaces"
    }
    for version in "$new/$1"/usr/lib/rabbitmq/lib/rabbitmq_server-*; do
        version=${version##*-}
    done
    case $version in
        "$1".*) mv "$new/$1" "$folder/$1" ;;
        *) cannot "Debian's release \`$2\` has RabbitMQ $version today, and not $1" ;;
    esac
}

lock scripts/rabbitmq-4.sh
if [ -d "$folder/4.0" ] && [ -d "$folder/4.3" ]; then exit 0; fi
for name in apt-get dpkg-deb unshare mount; do
    command -v "$name" >/dev/null 2>&1 || cannot "it needs Debian, and there is no \`$name\`"
done
[ -L /lib ] || cannot "it needs Debian 12 or later, where /lib is a link to /usr/lib"
from=$(mirror)
[ -n "$from" ] || { as_root apt-get --quiet update >/dev/null 2>&1 && from=$(mirror); } || true
[ -n "$from" ] || cannot "apt knows no source of Debian's packages; as root run \`apt-get update\`"
mkdir -p "$folder"
echo "*" >"$folder/.gitignore"
new=$(mktemp -d "$PWD/$folder/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
fetch 4.0 trixie
fetch 4.3 forky

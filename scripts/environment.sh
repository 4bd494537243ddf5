#!/bin/sh
# environment.sh FOLDER LOCK [project]
#
# Makes the virtual environment FOLDER hold what LOCK names, and with `project` this project too.
# Does nothing if that is so already. Whatever is unfinished or out of date is made anew: a
# mended environment might hold what the lock does not name.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

folder=$1
requirements=$2
project=${3:-}
stamp=$folder/.stamp

# The first Python that is new enough, preferring one that can make environments by itself.
find_python() {
    adequate=
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        adequate=${adequate:-$candidate}
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    [ -n "$adequate" ] || refuse "Python 3.11 or newer is needed and not to be found:" \
        "install it, or name it: make PYTHON=/path/to/python3 ..."
    echo "$adequate"
}

# Debian keeps what `python -m venv` needs in a package of its own.
complete_python() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    install_packages "python$version-venv" && "$1" -c 'import ensurepip, venv' ||
        refuse "$1 can't make virtual environments: as root run" \
            "apt-get install python$version-venv"
}

# All that the environment depends on; its place too, for it can't be moved.
wanted() {
    pwd
    "$python" -c 'import sys; print(sys.version, sys.base_prefix)'
    sha256sum "$requirements" scripts/environment.sh
}

up_to_date() { [ "$(cat "$stamp" 2>/dev/null)" = "$(wanted)" ] && "$folder/bin/python" -c ''; }

install() {
    "$folder/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --no-deps \
        "$@" </dev/null >&2
}

make_environment() {
    say "making $folder with $("$python" --version) ..."
    rm -rf "$folder"
    "$python" -m venv "$folder" >&2
    install --require-hashes --requirement "$requirements"
    wanted >"$stamp"
}

# The project itself is used where it lies; only what pyproject.toml says of it is installed.
install_project() {
    described=$(sha256sum pyproject.toml)
    [ "$(cat "$stamp-project" 2>/dev/null)" = "$described" ] && return
    install --no-build-isolation --editable .
    echo "$described" >"$stamp-project"
}

lock "$requirements"
python=$(find_python)
complete_python "$python"
up_to_date || make_environment
[ -z "$project" ] || install_project

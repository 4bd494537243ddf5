#!/bin/sh
# Makes requirements/*.txt anew from pyproject.toml. They hold hashes and name no index.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
.venv/bin/python -m venv "$tools" >&2
"$tools/bin/python" -m pip install --quiet --no-input --disable-pip-version-check uv >&2

compile() {
    target=$1
    shift
    "$tools/bin/uv" pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
        --python-version 3.11 $LOCK_OPTIONS --output-file "requirements/$target.txt" "$@"
}

LOCK_OPTIONS=${LOCK_OPTIONS:-}
compile run pyproject.toml
compile dev pyproject.toml --extra services --group dev
for source in requirements/*.in; do compile "$(basename "$source" .in)" "$source"; done
for folder in requirements/asyncapi requirements/axe requirements/grafana docs/examples/node; do
    # Its .npmrc leaves the registry's addresses out.
    [ -z "$LOCK_OPTIONS" ] || rm -f "$folder/package-lock.json"
    (cd "$folder" && npm install --package-lock-only --silent &&
        node "$OLDPWD/scripts/no-addresses.js" package-lock.json)
done

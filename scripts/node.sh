#!/bin/sh
# node.sh FOLDER
#
# Puts what FOLDER/package-lock.json names into FOLDER/node_modules, and installs Node and npm
# through apt where they are missing. Does nothing if that is so already.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

folder=$1
stamp=$folder/node_modules/.stamp

complete() { command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1; }

wanted() {
    node --version
    sha256sum "$folder/package-lock.json" "$folder/.npmrc" scripts/node.sh
}

lock "$folder/package-lock.json"
complete || install_packages nodejs npm && complete ||
    refuse "Node and npm are missing: as root run \`apt-get install nodejs npm\`."
[ "$(cat "$stamp" 2>/dev/null)" != "$(wanted)" ] || exit 0
say "making $folder/node_modules with Node $(node --version) ..."
npm ci --prefix "$folder" --silent --no-progress </dev/null >&2 ||
    refuse "npm does not get what $folder/package-lock.json names; run \`npm ci\` there to see why."
wanted >"$stamp"

#!/bin/sh
# pictures.sh FILE.png...: makes them small, with pngquant, which is installed through apt where it
# is missing.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

lock scripts/pictures.sh
[ -x /usr/bin/pngquant ] || install_packages pngquant ||
    refuse "pngquant is not installed. As root run \`apt-get install pngquant\`."
pngquant --force --ext .png --speed 1 --nofs 64 -- "$@"

#!/bin/sh
# Installs Chromium through apt where it is missing: the browser of the landing page's tests.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

lock scripts/chromium.sh
[ ! -x /usr/bin/chromium ] || exit 0
instructions="Chromium is not installed. As root run \`apt-get install chromium\`."
as_root true || refuse "$instructions"
install_packages chromium || refuse "$instructions"
[ -x /usr/bin/chromium ] || refuse "The package chromium brought no /usr/bin/chromium."

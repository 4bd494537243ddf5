#!/bin/sh
# Installs the AWS CLI v2 through apt where it is missing: `resolve-customer` is compared with it.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

aws=${AWSCLI_V2:-/usr/bin/aws}
is_version_two() { [ -x "$aws" ] && "$aws" --version 2>/dev/null | grep -q '^aws-cli/2\.'; }

lock scripts/awscli-v2.sh
if is_version_two; then exit 0; fi
instructions="The AWS CLI v2 is not installed. As root run \`apt-get install awscli\`, or name
another one in AWSCLI_V2."
install_packages awscli || refuse "$instructions"
is_version_two || refuse "The package awscli brought no version 2 as $aws. $instructions"

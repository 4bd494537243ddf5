#!/bin/sh
# Creates or updates the broker users of the resolution worker with their permissions, and sets the
# policy of its queues. Safe to run again: passwords of existing users are not changed. Without
# `rabbitmqctl`, for example on a managed broker, `resolution-worker topology users` does the same
# through the management interface.
#
# Usage: [SUFFIX=_staging] create-users.sh PASSWORDS [VHOST [CALLER...]]
#   PASSWORDS  a directory with one file for each user to create, named like the user, that contains
#              the password; a user without a file is skipped
#   VHOST      the virtual host, `/` by default; created if it is missing
#   CALLER     web tiers that wait for replies, each with its own user; `resolution_web` by default
#   SUFFIX     appended to each user's name: a second virtual host on a broker needs its own users
#
# Run it where `rabbitmqctl` reaches the broker, as a user who may use it. Passwords are passed on
# standard input, so that no process list shows them.
set -eu

here=$(dirname "$0")
passwords=${1:?usage: create-users.sh PASSWORDS [VHOST [CALLER...]]}
vhost=${2:-/}
[ $# -lt 2 ] || shift
shift
[ $# -gt 0 ] || set -- resolution_web
suffix=${SUFFIX:-}

refuse() { echo "create-users.sh: $*" >&2; exit 2; }

[ -d "$passwords" ] || refuse "$passwords is not a directory"
for caller; do
    # A dot would split a routing key's word, and other characters are special in regular expressions.
    case $caller$suffix in
        *[!A-Za-z0-9_-]*) refuse "$caller$suffix: a caller's name may contain only letters, digits, _ and -" ;;
    esac
done

# Without -q where standard input is used: from 4.0 on -q would keep it from being read.
ctl() { rabbitmqctl -q "$@" </dev/null; }
from_file() { head -n 1 "$passwords/$1" | rabbitmqctl "$2" "$1" >/dev/null 2>&1; }

case $vhost in
    *[\"\\]*) refuse "$vhost: the virtual host's name must not contain quotation marks or backslashes" ;;
esac
ctl list_vhosts name | grep -Fqx -- "$vhost" || ctl add_vhost "$vhost"

# From 4.3 topic permissions need an existing exchange, as `topology declare` creates it.
definitions=$(mktemp)
trap 'rm -f "$definitions"' EXIT
printf '{"exchanges": [{"name": "resolution.answers", "vhost": "%s", "type": "topic",
    "durable": true, "auto_delete": false, "internal": false, "arguments": {}}]}' "$vhost" \
    >"$definitions"
ctl import_definitions "$definitions" >/dev/null

users=$(ctl list_users | cut -f 1)
refused=0
complain() { echo "$*" >&2; refused=1; }

# Creates a user, or checks that it has this password and rights in this virtual host only.
ready() {
    if ! printf '%s\n' "$users" | grep -Fqx -- "$1"; then
        from_file "$1" add_user || { complain "$1: could not be created"; return 1; }
        return 0
    fi
    if ctl list_user_permissions "$1" --no-table-headers | cut -f 1 | grep -Fvqx -- "$vhost"; then
        complain "$1: has rights in another virtual host, and gets none here: use other names for" \
            "this one's users, for example with SUFFIX=_staging"
        return 1
    fi
    from_file "$1" authenticate_user || {
        complain "$1: its password differs from the one in $passwords; put the right one" \
            "there, or change the user's: rabbitmqctl change_password"
        return 1
    }
}

permit() { # USER CONFIGURE WRITE READ
    ctl set_permissions -p "$vhost" "$@"
}
permit_topics() { # USER EXCHANGE PUBLISH BIND
    ctl set_topic_permissions -p "$vhost" "$@"
}

# The lines of a list for one user.
lines_of() { # LIST LINE USER
    sed -n "s/^$2 /$3 /p" "$here/$1" | sed "s/CALLER/$3/g"
}

apply() { # LINE USER
    [ -f "$passwords/$2" ] || { echo "$2: no file in $passwords, skipped" >&2; return 0; }
    ready "$2" || return 0
    # Topic permissions first: without them a user who may bind could bind every key.
    lines_of topic-permissions "$1" "$2" | while read -r line; do
        # shellcheck disable=SC2086  # words of a list, without special characters of the shell
        set -f; permit_topics $line
    done
    lines_of permissions "$1" "$2" | while read -r line; do
        # shellcheck disable=SC2086  # as above
        set -f; permit $line
    done
    echo "$2: may now use the virtual host $vhost" >&2
}

# One policy, above all others: policies do not merge. README.md explains why.
ctl set_policy -p "$vhost" --priority 100 --apply-to queues resolution '^resolution\.' \
    '{"max-length-bytes":4294967296}' >/dev/null

for user in worker operator publisher admin; do apply "resolution_$user" "resolution_$user$suffix"; done
for caller; do apply CALLER "$caller$suffix"; done
exit $refused

#!/bin/sh
# Creates the broker users of the resolution worker with their permissions, or brings them up to
# date, and sets the policy of its queues. Safe to run again: no password of a user who is there
# already is changed. Where there is no `rabbitmqctl`, on a managed broker, say,
# `resolution-worker topology users` does the same through the management interface.
#
# Usage: [SUFFIX=_staging] create-users.sh PASSWORDS [VHOST [CALLER...]]
#   PASSWORDS  a directory with one file for each user to create, named like the user, that holds
#              the password; a user without a file is left out
#   VHOST      the virtual host, `/` unless given; created if it is missing
#   CALLER     web tiers that wait for replies, each a user of its own; `resolution_web` unless given
#   SUFFIX     ends the name of each user: a second virtual host of one broker wants users of its own
#
# Run it where `rabbitmqctl` reaches the broker, as a user who may use it. Passwords go through
# standard input, so that no list of processes shows them.
set -eu

here=$(dirname "$0")
passwords=${1:?usage: create-users.sh PASSWORDS [VHOST [CALLER...]]}
vhost=${2:-/}
[ $# -lt 2 ] || shift
shift
[ $# -gt 0 ] || set -- resolution_web
suffix=${SUFFIX:-}

refuse() { echo "create-users.sh: $*" >&2; exit 2; }

[ -d "$passwords" ] || refuse "$passwords is no directory"
for caller; do
    # A dot would make two words of a key, and other characters mean something in an expression.
    case $caller$suffix in
        *[!A-Za-z0-9_-]*) refuse "$caller$suffix: a caller has letters, digits, _ and - in its name" ;;
    esac
done

# Without -q where standard input counts: from 4.0 it would not be read.
ctl() { rabbitmqctl -q "$@" </dev/null; }
from_file() { head -n 1 "$passwords/$1" | rabbitmqctl "$2" "$1" >/dev/null 2>&1; }

case $vhost in
    *[\"\\]*) refuse "$vhost: a virtual host without quotation marks and backslashes, please" ;;
esac
ctl list_vhosts name | grep -Fqx -- "$vhost" || ctl add_vhost "$vhost"

# From 4.3 rights on topics need their exchange. It is what `topology declare` would make.
definitions=$(mktemp)
trap 'rm -f "$definitions"' EXIT
printf '{"exchanges": [{"name": "resolution.answers", "vhost": "%s", "type": "topic",
    "durable": true, "auto_delete": false, "internal": false, "arguments": {}}]}' "$vhost" \
    >"$definitions"
ctl import_definitions "$definitions" >/dev/null

users=$(ctl list_users | cut -f 1)
refused=0
complain() { echo "$*" >&2; refused=1; }

# Whether a user is there with this password, and belongs to this virtual host alone.
ready() {
    if ! printf '%s\n' "$users" | grep -Fqx -- "$1"; then
        from_file "$1" add_user || { complain "$1: could not be created"; return 1; }
        return 0
    fi
    if ctl list_user_permissions "$1" --no-table-headers | cut -f 1 | grep -Fvqx -- "$vhost"; then
        complain "$1: has rights in another virtual host, and gets none here: name this one's" \
            "users otherwise, as SUFFIX=_staging does"
        return 1
    fi
    from_file "$1" authenticate_user || {
        complain "$1: is there with another password than that in $passwords; put the right one" \
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

# The lines of a list that are about one user.
lines_of() { # LIST LINE USER
    sed -n "s/^$2 /$3 /p" "$here/$1" | sed "s/CALLER/$3/g"
}

apply() { # LINE USER
    [ -f "$passwords/$2" ] || { echo "$2: no file in $passwords, left out" >&2; return 0; }
    ready "$2" || return 0
    # Topics first: without them whoever may bind could bind every key.
    lines_of topic-permissions "$1" "$2" | while read -r line; do
        # shellcheck disable=SC2086  # words of a list, without characters of the shell's
        set -f; permit_topics $line
    done
    lines_of permissions "$1" "$2" | while read -r line; do
        # shellcheck disable=SC2086  # as above
        set -f; permit $line
    done
    echo "$2: may now use the virtual host $vhost" >&2
}

# One policy, above all others: policies do not merge. README.md says what it keeps away.
ctl set_policy -p "$vhost" --priority 100 --apply-to queues resolution '^resolution\.' \
    '{"max-length-bytes":4294967296}' >/dev/null

for user in worker operator publisher admin; do apply "resolution_$user" "resolution_$user$suffix"; done
for caller; do apply CALLER "$caller$suffix"; done
exit $refused

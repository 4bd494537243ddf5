#!/bin/sh
# Creates the broker users of the resolution worker with their permissions, or brings them up to
# date. Safe to run again: passwords of users who are there already stay as they are.
#
# Usage: create-users.sh PASSWORDS [VHOST]
#   PASSWORDS  a directory with one file for each user to create, named like the user, that holds
#              the password; a user without a file is left out
#   VHOST      the virtual host, `/` unless given; created if it is missing
#
# Run it where `rabbitmqctl` reaches the broker, as a user who may use it. Passwords go through
# standard input, so that no list of processes shows them.
set -eu

here=$(dirname "$0")
passwords=${1:?usage: create-users.sh PASSWORDS [VHOST]}
vhost=${2:-/}

[ -d "$passwords" ] || { echo "create-users.sh: $passwords is no directory" >&2; exit 2; }

rabbitmqctl -q list_vhosts name | grep -Fqx -- "$vhost" || rabbitmqctl -q add_vhost "$vhost"
users=$(rabbitmqctl -q list_users | cut -f 1)

# The list comes through another descriptor: rabbitmqctl reads standard input.
while read -r user configure write read <&3; do
    case $user in '' | '#'*) continue ;; esac
    [ -f "$passwords/$user" ] || { echo "$user: no file in $passwords, left out" >&2; continue; }
    if ! printf '%s\n' "$users" | grep -Fqx -- "$user"; then
        head -n 1 "$passwords/$user" | rabbitmqctl -q add_user "$user" >/dev/null
    fi
    rabbitmqctl -q set_permissions -p "$vhost" "$user" "$configure" "$write" "$read" </dev/null
    echo "$user: may now use the virtual host $vhost" >&2
done 3<"$here/permissions"

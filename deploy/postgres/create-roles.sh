#!/bin/sh
# Creates or updates the roles of roles.sql, and sets the passwords of those that log in. Safe to run
# again: a role gets the password that its file now contains.
#
# Usage: create-roles.sh PASSWORDS
#   PASSWORDS  a directory with one file for each role that logs in, named like the role, that contains
#              the password; a role without a file keeps its password
#
# Run it where `psql` reaches the worker's database as superuser, as set by PGHOST, PGDATABASE, PGUSER
# and PGPASSFILE. psql computes a verifier of each password and sends only that, so that no statement
# in the server's log contains a password, and no process list shows one.
set -eu

here=$(dirname "$0")
passwords=${1:?usage: create-roles.sh PASSWORDS}

refuse() { echo "create-roles.sh: $*" >&2; exit 2; }

[ -d "$passwords" ] || refuse "$passwords is not a directory"

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file="$here/roles.sql"

# psql asks for a password twice, on standard input if there is no terminal, hence `setsid`. Its
# output, mostly prompts, is shown only if it fails.
give_password() { # ROLE PASSWORD
    printf '%s\n%s\n' "$2" "$2" |
        PGOPTIONS='-c password_encryption=scram-sha-256' setsid \
            psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --command="\\password $1" 2>&1
}

for role in resolution_migrator resolution_worker resolution_operator; do
    [ -f "$passwords/$role" ] || { echo "$role: no file in $passwords, skipped" >&2; continue; }
    password=$(head -n 1 "$passwords/$role")
    [ -n "$password" ] || refuse "$role: its file in $passwords is empty"
    output=$(give_password "$role" "$password") || {
        echo "$role: its password could not be set: $output" >&2
        exit 1
    }
done

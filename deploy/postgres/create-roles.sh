#!/bin/sh
# Creates the roles of roles.sql, and gives those that log in their passwords, or brings both up to
# date. Safe to run again: a role gets the password that the file has now.
#
# Usage: create-roles.sh PASSWORDS
#   PASSWORDS  a directory with one file for each role that logs in, named like the role, that holds
#              the password; a role without a file keeps what it has
#
# Run it where `psql` reaches the worker's database as superuser: PGHOST, PGDATABASE, PGUSER and
# PGPASSFILE say how. psql makes a verifier of each password and sends no more than that, so that no
# statement that the server may log holds a password, and no list of processes shows one.
set -eu

here=$(dirname "$0")
passwords=${1:?usage: create-roles.sh PASSWORDS}

refuse() { echo "create-roles.sh: $*" >&2; exit 2; }

[ -d "$passwords" ] || refuse "$passwords is no directory"

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file="$here/roles.sql"

# psql asks for a password twice, on standard input if there is no terminal: `setsid` sees to that.
# What it says is kept for when it fails, for it is mostly the prompts.
give_password() { # ROLE PASSWORD
    printf '%s\n%s\n' "$2" "$2" |
        PGOPTIONS='-c password_encryption=scram-sha-256' setsid \
            psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --command="\\password $1" 2>&1
}

for role in resolution_migrator resolution_worker resolution_operator; do
    [ -f "$passwords/$role" ] || { echo "$role: no file in $passwords, left out" >&2; continue; }
    password=$(head -n 1 "$passwords/$role")
    [ -n "$password" ] || refuse "$role: its file in $passwords is empty"
    said=$(give_password "$role" "$password") || {
        echo "$role: its password could not be set: $said" >&2
        exit 1
    }
done

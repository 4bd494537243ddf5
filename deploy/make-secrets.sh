#!/bin/sh
# Creates all passwords, addresses and keys that compose.yaml needs, in deploy/secrets. Prints none of
# them; none is in the repository.
#
# Usage: make-secrets.sh [COMMAND...]
#   COMMAND  runs resolution-worker, whose `keygen` creates the sealing pair; by default the image
#            built by `docker compose build`
#
# Does not overwrite existing secrets: the servers keep their first passwords. SECRETS sets another
# directory, for tests; compose.yaml uses only this one.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${SECRETS:-$here/secrets}
[ $# -gt 0 ] || set -- docker run --rm --network none resolution-worker:local

if [ -e "$folder" ]; then
    echo "make-secrets.sh: $folder already exists. For new secrets remove it together with" \
        "the data of the servers: docker compose --file $here/compose.yaml down --volumes" >&2
    exit 1
fi

# Created completely or not at all. Other users can't enter the directory, so the files in it may be
# readable for any user inside a container.
umask 022
new=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$new"' EXIT
mkdir "$new/worker" "$new/migrate" "$new/topology" "$new/publish" "$new/reprocessing" \
    "$new/postgres" "$new/rabbitmq" "$new/rabbitmq/passwords" "$new/grafana"

password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
write() { printf '%s\n' "$2" >"$new/$1"; }

# The sealing pair. The private key is only for reprocessing by people on call: no container gets it,
# nor the passwords with which they connect.
keys=$("$@" keygen) || {
    echo "make-secrets.sh: \`$* keygen\` failed; build the image first:" \
        "docker compose --file $here/compose.yaml build" >&2
    exit 1
}
value() { printf '%s\n' "$keys" | sed -n "s/^WORKER_DEAD_LETTERS__$1=//p"; }
write worker/dead_letters__seal_key "$(value SEAL_KEY)"
write reprocessing/dead_letters__open_keys "$(value OPEN_KEYS)"

# PostgreSQL. psql reads passwords from a file only if other users can't read it.
write postgres/superuser "$(password)"
for role in worker migrator operator; do write "postgres/resolution_$role" "$(password)"; done
login() { printf 'postgres:5432:*:%s:%s\n' "$1" "$(cat "$new/postgres/$2")"; }
{
    login postgres superuser
    login resolution_migrator resolution_migrator
} >"$new/postgres/pgpass"
chmod 600 "$new/postgres/pgpass"
dsn() { echo "postgresql://$1:$(cat "$new/postgres/$1")@postgres:5432/marketplace"; }
write worker/postgres__dsn "$(dsn resolution_worker)"
from_outside() { printf '%s\n' "$1" | sed "s/@[a-z]*:/@127.0.0.1:/"; }  # as reached from the host
write reprocessing/postgres__dsn "$(from_outside "$(dsn resolution_operator)")"
write migrate/postgres__admin_dsn "$(dsn resolution_migrator)"

# RabbitMQ. `operator` is an administrator, for the management pages.
for user in worker operator publisher admin web; do
    write "rabbitmq/passwords/resolution_$user" "$(password)"
done
write rabbitmq/operator.conf "default_user = operator
default_pass = $(password)"
url() { echo "amqp://$1:$(cat "$new/rabbitmq/passwords/$1")@rabbitmq:5672/"; }
write worker/amqp__url "$(url resolution_worker)"
write reprocessing/amqp__url "$(from_outside "$(url resolution_operator)")"
write publish/amqp__url "$(url resolution_publisher)"
write topology/amqp__admin_url "$(url resolution_admin)"

write grafana/admin "$(password)"

chmod 700 "$new"
mv "$new" "$folder"
trap - EXIT
echo "make-secrets.sh: created $folder" >&2

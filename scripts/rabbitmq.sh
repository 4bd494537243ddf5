#!/bin/sh
# Installs RabbitMQ's programs where they are missing. Nothing is started, now or at the next
# boot: the project runs brokers of its own.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh
. scripts/quiet.sh

server=/usr/lib/rabbitmq/bin/rabbitmq-server

# Not at the next boot either; and not now, should a policy found here have allowed it.
disable() {
    units="rabbitmq-server.service epmd.socket epmd.service"
    as_root update-rc.d rabbitmq-server disable || true
    as_root service rabbitmq-server stop || true
    if command -v systemctl; then as_root systemctl disable $units || true; fi
    if [ -d /run/systemd/system ]; then as_root systemctl stop $units || true; fi
}

# The numbers of the processes of a name; `pgrep` is no part of a bare system.
running() {
    for process in /proc/[0-9]*; do
        read -r name <"$process/comm" || continue
        if [ "$name" = "$1" ]; then echo "${process#/proc/}"; fi
    done 2>/dev/null
}

# Erlang's name server may have been started by the way: the one that was not there before.
end_new_epmd() {
    for process in $(running epmd); do
        case " $1 " in *" $process "*) ;; *) as_root kill "$process" || true ;; esac
    done
}

lock scripts/rabbitmq.sh
[ ! -x "$server" ] || exit 0
instructions="RabbitMQ is not installed. As root run \`apt-get install rabbitmq-server\`, and
\`systemctl disable --now rabbitmq-server\` if it should not run as a service; or, for the demo,
name a broker in WORKER_AMQP__URL."
as_root true || refuse "$instructions"
before=$(running epmd | tr '\n' ' ')
forbid_starting
install_packages rabbitmq-server || refuse "$instructions"
disable >/dev/null 2>&1
end_new_epmd "$before"
[ -x "$server" ] || refuse "The package rabbitmq-server brought no $server."

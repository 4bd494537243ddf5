# Sourced by the scripts that install a server and must not let it start.

policy=/usr/sbin/policy-rc.d
ours="# resolution-worker: nothing is started while a server is installed"

# Without a policy Debian starts every service that it installs.
forbid_starting() {
    [ ! -e "$policy" ] || return 0
    trap allow_starting EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    printf '#!/bin/sh\n%s\nexit 101\n' "$ours" | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

allow_starting() {
    if grep -qsF "$ours" "$policy"; then as_root rm -f "$policy"; fi
}

# Sourced by the other scripts, which run in the project's folder.

say() { echo "$*" >&2; }

refuse() {
    say "$*"
    exit 69
}

# lock FILE: two runs at once take turns. The file is only a name to agree on.
lock() {
    exec 9<"$1"
    if command -v flock >/dev/null 2>&1; then flock 9; fi
}

# as_root COMMAND...: fails, saying nothing, where nobody may.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# install_packages NAME...: through apt, where there is apt and it is allowed.
install_packages() {
    command -v apt-get >/dev/null 2>&1 && as_root true || return 1
    say "installing $* through apt ..."
    apt_log=$(mktemp)
    if apt_get install "$@" || { apt_get update && apt_get install "$@"; }; then
        rm -f "$apt_log"
    else
        cat "$apt_log" >&2
        rm -f "$apt_log"
        return 1
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$apt_log" 2>&1
}

#!/bin/sh
# What tests need of the system: Chromium and its driver for pages, sshd, rsync and iproute2 for machines.
# Installs them only as root and only where there is apt; otherwise says what is missing. Never asks for a password.
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
missing=
{ have chromium || have chromium-browser; } && have chromedriver || missing="chromium chromium-driver"
have sshd && have ssh && have rsync || missing="$missing openssh-server openssh-client rsync"
have ip || missing="$missing iproute2"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && have apt-get; then
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    echo "Installing $missing from the system's packages (about a minute) ..."
    # shellcheck disable=SC2086  # several packages
    if apt-get update >"$log" 2>&1 && apt-get install -y --no-install-recommends $missing >>"$log" 2>&1; then
        rm -f "$log"
        exit 0
    fi
    tail -n 15 "$log" >&2
    rm -f "$log"
    echo "warning: $missing could not be installed with apt-get (its last lines are above)" >&2
else
    echo "warning: not installed: $missing" >&2
    echo "hint: install them with: sudo apt install $missing" >&2
fi
echo "The tests that need them will be skipped; where CI is set, they fail." >&2

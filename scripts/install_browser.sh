#!/bin/sh
# Chromium and its driver, for the tests that look at pages as a browser shows them.
# Installs them only as root and only where there is apt; otherwise says what is missing. Never asks for a password.
have() { command -v "$1" >/dev/null 2>&1; }
if { have chromium || have chromium-browser; } && have chromedriver; then
    exit 0
fi

if [ "$(id -u)" = 0 ] && have apt-get; then
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    echo "Installing chromium and chromium-driver from the system's packages (about a minute) ..."
    if apt-get update >"$log" 2>&1 &&
        apt-get install -y --no-install-recommends chromium chromium-driver >>"$log" 2>&1 && have chromedriver; then
        rm -f "$log"
        exit 0
    fi
    tail -n 15 "$log" >&2
    rm -f "$log"
    echo "warning: chromium could not be installed with apt-get (its last lines are above)" >&2
else
    echo "warning: chromium and chromium-driver are not installed" >&2
    echo "hint: install them with: sudo apt install chromium chromium-driver" >&2
fi
echo "The tests that need a browser will be skipped; where CI is set, they fail." >&2

#!/bin/sh
# Prints the first Python 3.11, 3.12 or 3.13 that can make a virtual environment.
# Each candidate is run: a name on the PATH may be a shim of a version manager that fails.
is_fit='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
without_venv=
for candidate in "$@" python3.11 python3.12 python3.13 python3; do
    "$candidate" -c "$is_fit" >/dev/null 2>&1 || continue
    if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        echo "$candidate"
        exit 0
    fi
    without_venv=${without_venv:-$candidate}
done

sudo="sudo "
[ "$(id -u 2>/dev/null)" = 0 ] && sudo=
if [ -n "$without_venv" ]; then
    echo "error: $without_venv cannot make virtual environments: its modules venv and ensurepip are missing" >&2
    echo "hint: install them with: ${sudo}apt install python3-venv" >&2
else
    echo "error: there is no Python 3.11, 3.12 or 3.13 on the PATH" >&2
    echo "hint: install one, for example with: ${sudo}apt install python3 python3-venv; or name it: make PYTHON=/path/to/python" >&2
fi
exit 1

"""The start script of a rented machine: before anybody has logged in, it has its guard.

The client's half of `onboard/guard.py`. What it writes holds no secret.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

from railcar.machines import onboard
from railcar.machines.base import Inside
from railcar.machines.shell import Shell, quote

_ONBOARD = Path(onboard.__file__).parent
_SCRIPT = """#!/bin/sh
# Written by railcar: powers this machine off at its deadline, and when nobody uses it.
set -u
mkdir -p {folder} && cd {folder} || exit 1
{files}
python3 guard.py install {folder}/guard.json
# The system's own upgrades replace drivers under a training.
for unit in apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service unattended-upgrades; do
    {systemctl} mask --now "$unit" >/dev/null 2>&1
done
:
"""


def write_start_script(inside: Inside, *, ends_s: float, idle_s: float) -> str:
    """A script for root at the first boot; about 6 kB. Where a machine is new, its guard is there before ssh is."""
    config = guard_config(inside, ends_s=ends_s, idle_s=idle_s)
    files = {
        "job.py": (_ONBOARD / "job.py").read_bytes(),
        "guard.py": (_ONBOARD / "guard.py").read_bytes(),
        "guard.json": json.dumps(config).encode(),
    }
    lines = []
    for name, content in files.items():
        packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
        lines.append(f"echo {packed} | base64 -d | gunzip > {name}")
    return _SCRIPT.format(folder=quote(inside.folder), files="\n".join(lines), systemctl=quote(inside.systemctl))


def guard_config(inside: Inside, *, ends_s: float, idle_s: float) -> dict[str, object]:
    return {
        "ends_s": ends_s,
        "idle_s": idle_s,
        "jobs": f"{inside.home or '~' + inside.user}/.railcar/jobs",
        "power_off": list(inside.power_off),
        "log": f"{inside.folder}/guard.log",
        "units": inside.units,
        "systemctl": inside.systemctl,
        "notice": inside.notice,
    }


def is_guarded(shell: Shell, inside: Inside) -> bool:
    """Whether the guard runs there."""
    pattern = f"{inside.folder}/guard.py run".replace("/guard", "/[g]uard")
    return shell.run(f"pgrep -f {quote(pattern)}", check=False).status == 0

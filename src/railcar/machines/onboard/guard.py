"""The watchdog of a rented machine: powers it off at its deadline, and when nobody has used it for a while.

    guard.py run CONFIG        watch until the machine goes off
    guard.py install CONFIG    let the system run this file, now and after each boot, and end

CONFIG is JSON: `ends_s` (seconds since 1970), `idle_s`, `jobs` (the folder of jobs, see job.py; ~user is a home),
`power_off` (a command), `log`, `units` (systemd's folder), `systemctl`, `notice` (where the provider says that it takes
a spot machine away: `ec2`, `gce` or the path of a file; running jobs are then told to save). It is read anew each time,
so that a deadline can be moved. In use is a machine while a job runs, or somebody is connected by ssh, or a job has
ended whose result nobody has taken home: that is waited for until the deadline. Running jobs get SIGTERM and two
minutes before the machine goes off.

The deadline is a time, not a length: after a reboot it is the same. What this file cannot see to (a machine that hangs)
is for the provider's own end.
"""

import glob
import json
import os
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import job  # pyright: ignore[reportMissingImports]

UNIT = "railcar-guard.service"
EC2, GCE = "http://169.254.169.254", "http://metadata.google.internal"
LOOK_EVERY_S = 5.0
_TEXT = """[Unit]
Description=railcar: powers this machine off at its deadline, or when nobody uses it
After=network.target

[Service]
ExecStart=%s
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""


def run(path):
    used_s, is_noticed = time.time(), False
    while True:
        config = read(path)
        now = time.time()
        if not is_noticed and is_taken_away(config.get("notice")):
            is_noticed = True
            note(config, "the provider takes this machine away")
            for folder in list_jobs(config):
                if job.state(folder)["state"] == "running":
                    job.write(folder, "noticed", "")
                    job.stop(folder)
        if now >= config["ends_s"]:
            return power_off(config, "its deadline is reached")
        if in_use(config):
            used_s = now
        elif now - used_s >= config["idle_s"]:
            return power_off(config, "nobody has used it for %d s" % (now - used_s))
        nearest = min(config["ends_s"], used_s + config["idle_s"]) - now
        time.sleep(max(0.2, min(config.get("look_every_s", LOOK_EVERY_S), nearest)))


def in_use(config):
    jobs = [job.state(folder) for folder in list_jobs(config)]
    untaken = ("ended", "lost")
    return has_session() or any(
        one["state"] == "running" or (one["state"] in untaken and not one["is_taken"]) for one in jobs
    )


def is_taken_away(notice):
    """Whether the provider has said so: EC2 two minutes before ("Spot Instance interruption notices"), Google thirty
    seconds before ("Spot VMs: handle preemption")."""
    if not notice:
        return False
    try:
        if notice == "ec2":
            token = ask(EC2 + "/latest/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
            ask(EC2 + "/latest/meta-data/spot/instance-action", "GET", {"X-aws-ec2-metadata-token": token})
            return True
        if notice == "gce":
            return ask(GCE + "/computeMetadata/v1/instance/preempted", "GET", {"Metadata-Flavor": "Google"}) == "TRUE"
    except OSError:
        return False  # 404: there is nothing to say
    return os.path.exists(notice)


def ask(address, method, headers):
    request = urllib.request.Request(address, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=2) as answer:
        return answer.read().decode().strip()


def list_jobs(config):
    return [
        folder for folder in glob.glob(os.path.join(os.path.expanduser(config["jobs"]), "*")) if os.path.isdir(folder)
    ]


def has_session():
    """Whether somebody is connected by ssh: each session has a process "sshd: user@pts/0", or "@notty"."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                title = file.read(200)
        except OSError:
            continue
        if title.startswith((b"sshd: ", b"sshd-session: ")) and b"@" in title:
            return True
    return False


def power_off(config, reason):
    note(config, "powering off: " + reason)
    running = [one for one in list_jobs(config) if job.state(one)["state"] == "running"]
    for one in running:
        job.stop(one)
    until_s = time.time() + job.GRACE_S
    while time.time() < until_s and any(job.state(one)["state"] == "running" for one in running):
        time.sleep(0.2)
    while True:
        subprocess.call(config["power_off"])
        time.sleep(30)  # a machine that does not go off is told again


def note(config, words):
    with open(config["log"], "a") as file:
        file.write("%s %s\n" % (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), words))


def read(path):
    with open(path) as file:
        return json.load(file)


def install(path):
    """Write the unit and let the system start it. Where that fails, start this file alone, which ends with the next
    boot; that is said, with status 3."""
    config = read(path)
    command = [sys.executable, os.path.abspath(__file__), "run", os.path.abspath(path)]
    try:
        with open(os.path.join(config["units"], UNIT), "w") as file:
            file.write(_TEXT % " ".join(command))
        systemctl = config["systemctl"]
        for words in (["daemon-reload"], ["enable", UNIT], ["restart", UNIT]):
            subprocess.check_call([systemctl] + words)
        return 0
    except (OSError, subprocess.CalledProcessError) as error:
        print("guard.py: no system manager runs it (%s): it ends with the next boot" % error, file=sys.stderr)
    null = subprocess.DEVNULL
    subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)
    return 3


if __name__ == "__main__":
    sys.exit({"run": run, "install": install}[sys.argv[1]](sys.argv[2]))

"""One command on a machine as a process of its own, with a log and a pid, that no lost connection ends.

    job.py start FOLDER            begin what FOLDER/job.json says, once: {"command": [...], "cwd", "env", "ends_s",
                                   "stdout": a file in FOLDER, or nothing: the log has both}
    job.py follow FOLDER OFFSET    write the log from that byte on until the command has ended
    job.py state FOLDER...         a line of JSON each: state (waiting, running, ended, lost), status, size of the log
    job.py stop FOLDER             SIGTERM to the command, and to all that it started
    job.py taken FOLDER            what it made is at home

In FOLDER: job.json, log, pid (of the process that waits for the command), status (when it has ended). Ended by a signal
N the status is 128 + N, as a shell has it. At `ends_s` (seconds since 1970) the command is ended: SIGTERM, and SIGKILL
two minutes later.
"""

import json
import os
import signal
import subprocess
import sys
import time

GRACE_S = 120.0
_LOOK_EVERY_S = 0.1


def start(folder):
    """Begin the job in the background, unless it was begun before. Returns when its pid is written."""
    log = os.open(os.path.join(folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        claim = os.open(os.path.join(folder, "claim"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return 0
    os.close(claim)
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os.read(reader, 1)  # ends when the child has written its pid, or died
        return 0
    os.close(reader)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    write(folder, "pid", "%d %s" % (os.getpid(), start_time(os.getpid())))
    os.close(writer)
    try:
        status = run(folder, log)
    except Exception as error:
        os.write(log, ("railcar: the command could not be started: %s\n" % error).encode())
        status = 127
    write(folder, "status", str(status))
    os._exit(0)


def run(folder, log):
    with open(os.path.join(folder, "job.json")) as file:
        job = json.load(file)
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    environment.update(job.get("env") or {})
    out = log
    if job.get("stdout"):
        out = os.open(os.path.join(folder, job["stdout"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    command = subprocess.Popen(
        job["command"],
        cwd=job.get("cwd"),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=log,
        start_new_session=True,
    )
    write(folder, "command.pid", "%d %s" % (command.pid, start_time(command.pid)))
    ends_s = job.get("ends_s")
    try:
        status = command.wait(None if ends_s is None else max(0.0, ends_s - time.time()))
    except subprocess.TimeoutExpired:
        os.write(
            log, b"railcar: the time that was given is over: the command is told to save what it has, and to end\n"
        )
        end(command.pid, signal.SIGTERM)
        try:
            status = command.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            end(command.pid, signal.SIGKILL)
            status = command.wait()
    return 128 - status if status < 0 else status


def follow(folder, offset):
    path = os.path.join(folder, "log")
    out = sys.stdout.buffer
    with open(path, "rb") as log:
        log.seek(offset)
        while True:
            is_over = state(folder)["state"] in ("ended", "lost")  # asked for before reading: nothing is missed
            block = log.read(1 << 16)
            if block:
                out.write(block)
                out.flush()
            elif is_over:
                return 0
            else:
                time.sleep(_LOOK_EVERY_S)
                if os.getppid() == 1:
                    return 0  # who followed has gone


def state(folder):
    """What is known of the job."""
    found = {"name": os.path.basename(os.path.abspath(folder)), "state": "waiting", "status": None}
    found["is_taken"] = os.path.exists(os.path.join(folder, "taken"))
    try:
        found["log_bytes"] = os.path.getsize(os.path.join(folder, "log"))
    except OSError:
        found["log_bytes"] = 0
    status = read(folder, "status")
    if status is not None:
        found.update(state="ended", status=int(status), ended_s=os.path.getmtime(os.path.join(folder, "status")))
    elif read(folder, "pid") is not None:
        found["state"] = "running" if is_alive(read(folder, "pid")) else "lost"
        if found["state"] == "lost" and read(folder, "status") is not None:
            return state(folder)  # it ended between the two looks
    return found


def stop(folder):
    process = read(folder, "command.pid")
    if process is not None and is_alive(process):
        end(int(process.split()[0]), signal.SIGTERM)
    return 0


def end(group, number):
    try:
        os.killpg(group, number)
    except OSError:
        pass


def is_alive(process):
    """Whether "PID START" is still the process that was meant: numbers are given again."""
    pid, began = process.split()
    return start_time(int(pid)) == began


def start_time(pid):
    """When a process began, in the kernel's ticks since boot; 0 where there is none, or it only waits to be buried."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return "0"
    return "0" if fields[0] in "ZX" else fields[19] + boot_time()


def boot_time():
    """Ticks begin anew with each boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return "@" + file.read(8)


def write(folder, name, content):
    path = os.path.join(folder, name)
    with open(path + ".new", "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def read(folder, name):
    try:
        with open(os.path.join(folder, name)) as file:
            return file.read().strip()
    except OSError:
        return None


def main(words):
    command, folder = words[0], words[1]
    if command == "start":
        return start(folder)
    if command == "follow":
        return follow(folder, int(words[2]))
    if command == "stop":
        return stop(folder)
    if command == "taken":
        write(folder, "taken", "")
        return 0
    if command == "state":
        for one in words[1:]:
            print(json.dumps(state(one)))
        return 0
    print("job.py: there is no command " + command, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

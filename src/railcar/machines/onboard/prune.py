"""Removes from a folder what an earlier sync brought and this one did not: prune.py FOLDER LIST, the new list of
names (each ended by a zero byte) on stdin. LIST keeps it for the next time. What others made there stays."""

import os
import sys


def main(folder, kept):
    new = sys.stdin.buffer.read().split(b"\0")
    try:
        with open(kept, "rb") as file:
            old = file.read().split(b"\0")
    except OSError:
        old = []
    root = os.fsencode(folder)
    for name in set(old) - set(new) - {b""}:
        path = os.path.join(root, name)
        if os.path.lexists(path) and not os.path.isdir(path):
            os.remove(path)
        parent = os.path.dirname(path)
        while parent != root and parent.startswith(root) and os.path.isdir(parent) and not os.listdir(parent):
            os.rmdir(parent)
            parent = os.path.dirname(parent)
    with open(kept, "wb") as file:
        file.write(b"\0".join(new))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

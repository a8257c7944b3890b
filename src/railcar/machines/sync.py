"""What is copied to a machine: a project as git would copy it, and data by its fingerprint; never a secret.

Owns the choice of files and the warnings about what stays here. `shell.py` copies.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from railcar.errors import NotFound
from railcar.machines.bootstrap import Ready
from railcar.machines.shell import Shell, quote

_JUNK = {".git", ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".ruff_cache"}
_SECRET_NAMES = re.compile(
    r"(^|/)(\.env(\..*)?|\.netrc|\.pgpass|\.npmrc|\.pypirc|\.htpasswd|credentials(\.json|\.ya?ml|\.csv)?|"
    r"application_default_credentials\.json|service[-_]?account.*\.json|id_(rsa|dsa|ecdsa|ed25519)|.*\.(pem|key|p12|pfx|jks|ppk|kdbx))$"
    r"|(^|/)(\.ssh|\.aws|\.gnupg|\.kube|\.docker|\.config/gcloud)/",
    re.IGNORECASE,
)
_SECRET_CONTENT = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|aws_secret_access_key\s*[=:]"
    rb"|\bgh[pousr]_[A-Za-z0-9]{36}|\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{32,}|\bAIza[0-9A-Za-z_-]{35}\b"
    rb"|\"private_key\"\s*:|\bxox[abp]-[A-Za-z0-9-]{20,}",
)
# Larger files, and those that are not text, are looked at by name only.
_LOOKED_AT_BYTES = 1 << 20
_SAMPLE_BYTES = 256 << 10
# Compressing pays on the lines that people have where a fifth is saved.
_PAYS_BELOW = 0.8


@dataclass(frozen=True)
class Files:
    """Files of a folder that are copied, by their names in it; `secrets` stay here."""

    folder: Path
    names: tuple[str, ...]
    n_bytes: int
    largest: tuple[tuple[str, int], ...] = ()
    secrets: tuple[str, ...] = field(default=())

    def describe(self) -> str:
        most = ", ".join(f"{name} {_megabytes(size)}" for name, size in self.largest[:3])
        tail = f"; largest: {most}" if self.n_bytes > 10_000_000 else ""
        return f"{len(self.names):,} files, {_megabytes(self.n_bytes)}{tail}"


def list_project(folder: Path, extra: Sequence[str] = ()) -> Files:
    """What git would copy of the folder (tracked, untracked and not ignored), and `extra` besides; where there is no
    git, all but environments and caches."""
    names = _ask_git(folder)
    if names is None:
        names = [name for name in _walk(folder) if not _JUNK & set(name.split("/"))]
    for one in extra:
        path = folder / one
        if not path.exists():
            raise NotFound(f"{one}: no such file or folder", hint="name what is to be copied, from this folder")
        names += [one] if path.is_file() else [f"{one.rstrip('/')}/{inner}" for inner in _walk(path)]
    return choose(folder, names)


def choose(folder: Path, names: Iterable[str]) -> Files:
    """Those of the files that are there and hold no secret."""
    kept, secrets, sizes = [], [], []
    for name in dict.fromkeys(names):
        path = folder / name
        try:
            size = path.lstat().st_size
        except OSError:
            continue  # git still knows what was removed
        if path.is_dir():
            continue
        if is_secret(path, name, size):
            secrets.append(name)
            continue
        kept.append(name)
        sizes.append((name, size))
    largest = tuple(sorted(sizes, key=lambda one: -one[1])[:5])
    return Files(folder, tuple(kept), sum(size for _, size in sizes), largest, tuple(secrets))


def is_secret(path: Path, name: str, size: int) -> bool:
    """Whether a file is one that holds keys or passwords, by its name or what is in it. Public keys are none."""
    if _SECRET_NAMES.search(name):
        return True
    if size > _LOOKED_AT_BYTES or path.is_symlink():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(1024)
            if b"\0" in start:
                return False  # pixels, weights, archives
            return _SECRET_CONTENT.search(start + file.read()) is not None
    except OSError:
        return False


def send_project(shell: Shell, ready: Ready, files: Files, name: str) -> str:
    """Copy a project's files into a folder there, which is returned; what an earlier copy brought and is no longer
    among them is removed."""
    folder = f"{ready.root}/work/{name}"
    listed = "\0".join(files.names).encode()
    program = f"{ready.package}/railcar/machines/onboard/prune.py"
    shell.run(f"mkdir -p {quote(folder)} && {quote('python3', program, folder, folder + '.files')}", stdin=listed)
    options = ["--from0", "--files-from=-", *_compression(files)]
    shell.send([f"{files.folder}/"], f"{folder}/", *options, stdin=listed)
    return folder


def send_data(
    shell: Shell, ready: Ready, path: Path, *, suffix: str = "", warn: Callable[[str], object] = lambda text: None
) -> str:
    """Copy a file or folder of data there (of a folder the files that end in `suffix`), unless it is there already;
    returns its path. The fingerprint is of names, sizes and times. What an older copy has in common is not sent
    again."""
    path = path.absolute()
    if not path.exists():
        raise NotFound(f"{path}: no such file or folder", hint="name data that is there")
    names = [one for one in _walk(path) if one.endswith(suffix)] if path.is_dir() else [path.name]
    root = path if path.is_dir() else path.parent
    source = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    fingerprint = _fingerprint(root, names)
    base = f"{ready.root}/data/{source}"
    folder, target = f"{base}/{fingerprint}", f"{base}/{fingerprint}/{path.name}"
    told = shell.read(
        f"test -e {quote(folder + '/.complete')} && echo there; ls -t {quote(base)} 2>/dev/null | head -n 1"
    )
    lines = told.splitlines()
    if "there" in lines:
        return target
    files = choose(root, names)
    for name in files.secrets:
        warn(f"{name} stays here: it looks like a key or password")
    options = ["--from0", "--files-from=-", *_compression(files)]
    if lines:
        older = f"{base}/{lines[-1]}"
        options.append(f"--link-dest={older}/{path.name}" if path.is_dir() else f"--link-dest={older}")
    there = target if path.is_dir() else folder
    shell.run(f"mkdir -p {quote(there)}")
    shell.send([f"{root}/"], f"{there}/", *options, stdin="\0".join(files.names).encode())
    shell.run(f"touch {quote(folder + '/.complete')}")
    return target


def find_missing(words: Iterable[str], files: Files) -> list[str]:
    """Those of a command's words that are files or folders here and will not be there."""
    there = set(files.names)
    folders = {parent for name in there for parent in _parents(name)}
    missing = []
    for word in words:
        for part in (word, word.partition("=")[2]):
            name = os.path.normpath(part) if part and not part.startswith("-") else ""
            inside = name and not name.startswith(("/", "..")) and name != "."
            if inside and (files.folder / name).exists() and name not in there | folders:
                missing.append(name)
    return missing


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= 50_000 else f"{n_bytes / 1e3:,.1f} kB"


def _parents(name: str) -> Iterable[str]:
    return (str(parent) for parent in Path(name).parents if str(parent) != ".")


def _fingerprint(root: Path, names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(names):
        found = (root / name).lstat()
        digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def _compression(files: Files) -> list[str]:
    """`-z` where that pays: images are compressed already, rows and texts not."""
    seen = packed = 0
    for name, _ in files.largest:
        try:
            with (files.folder / name).open("rb") as file:
                block = file.read(_SAMPLE_BYTES)
        except OSError:
            continue
        seen, packed = seen + len(block), packed + len(zlib.compress(block, 1))
    return ["-z"] if seen > 4096 and packed < seen * _PAYS_BELOW else []


def _ask_git(folder: Path) -> list[str] | None:
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        found = subprocess.run(words, cwd=folder, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if found.returncode:
        return None
    return [name for name in found.stdout.decode(errors="surrogateescape").split("\0") if name]


def _walk(folder: Path) -> Iterable[str]:
    for inner, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one not in _JUNK)
        for name in sorted(names):
            yield str((Path(inner) / name).relative_to(folder))

"""A wheel of the very railcar that is running, whether it was installed or is worked on, and what it needs.

A machine gets this file and its hash, never a name to look up in an index, where the name may be anybody's. The same
files make the same bytes (PEP 427; times are left out), so a hash tells whether a machine has it already.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

import railcar
from railcar.errors import MachineError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_EXTRA = re.compile(r"""\bextra\s*==\s*["']([^"']+)["']""")


@dataclass(frozen=True)
class Wheel:
    """`name` is the file's, as pip wants it."""

    name: str
    content: bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def build_wheel() -> Wheel:
    """The wheel of the package that is imported, with the metadata of what is installed."""
    version = railcar.__version__
    info = f"railcar-{version}.dist-info"
    package = Path(railcar.__file__).parent
    files = {f"railcar/{path.relative_to(package).as_posix()}": path.read_bytes() for path in _list_files(package)}
    if constraints := _find_constraints():
        files["railcar/constraints.txt"] = constraints
    files[f"{info}/METADATA"] = str(metadata.metadata("railcar")).encode()
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\nrailcar = railcar.cli.main:main\n"
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: railcar\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return Wheel(f"railcar-{version}-py3-none-any.whl", buffer.getvalue())


def list_requirements(*extras: str) -> list[str]:
    """What railcar needs, with these extras, as pip takes it. Raises `MachineError` for one that the installation here
    does not know: a checkout that went on after it was installed."""
    known = metadata.metadata("railcar").get_all("Provides-Extra") or []
    if unknown := [one for one in extras if one not in known]:
        raise MachineError(
            f"the railcar that is installed here knows no extra {unknown[0]!r}",
            hint="install it again: pip install -e .",
        )
    found = []
    for line in metadata.requires("railcar") or []:
        requirement, _, marker = line.partition(";")
        named = _EXTRA.search(marker)
        if named is None:
            found.append(line.strip())
        elif named[1] in extras:
            rest = re.sub(r"""(\s*and\s*)?extra\s*==\s*["'][^"']+["']""", "", marker).strip()
            rest = rest.removeprefix("and ").strip()
            found.append(f"{requirement.strip()} ; {rest}" if rest else requirement.strip())
    return found


def read_constraints() -> str:
    """The versions that this railcar was tested with, one `package==version` a line."""
    found = _find_constraints()
    if found is None:
        raise MachineError(
            "the versions that railcar was tested with are not in its installation", hint="install railcar again"
        )
    return found.decode()


def _find_constraints() -> bytes | None:
    package = Path(railcar.__file__).parent
    for path in (package / "constraints.txt", package.parent.parent / "constraints.txt"):
        if path.is_file():
            return path.read_bytes()
    return None


def _list_files(package: Path) -> list[Path]:
    paths = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path for path in paths if path.suffix != ".pyc" and path.name != "constraints.txt")


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()

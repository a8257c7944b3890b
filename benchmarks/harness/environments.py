"""The peers' environments: a virtual environment for each file of `environments/`, made when it is first needed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
_REQUIREMENTS = FOLDER / "environments"
DEFAULT_DIR = FOLDER / ".envs"


def find_python(name: str, folder: Path) -> Path:
    """The Python of the environment `name` below `folder`; it is made, or made anew when its requirements changed."""
    requirements = _REQUIREMENTS / f"{name}.txt"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    target = folder / name
    python, mark = target / "bin" / "python", target / "requirements.sha256"
    if mark.is_file() and mark.read_text() == wanted:
        return python
    print(f"making the environment {name} in {target} ...", file=sys.stderr, flush=True)
    venv.create(target, with_pip=True, clear=True)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(requirements)]
    subprocess.run(install, check=True, stdout=sys.stderr)
    mark.write_text(wanted)
    return python


def list_pins() -> dict[str, list[str]]:
    """The requirements of each environment, for the record."""
    return {
        path.stem: [line for line in path.read_text().split("\n") if line and not line.startswith("#")]
        for path in sorted(_REQUIREMENTS.glob("*.txt"))
    }

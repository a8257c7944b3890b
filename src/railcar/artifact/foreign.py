"""An artifact that somebody else has made, looked at before it is loaded: in a process of its own (`sandbox.py`).

Owns that process: what it knows of this one (nearly nothing), what it may use, and what its end means.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from railcar.errors import ForeignArtifact

MEMORY_MB = 2048
"""What a model may take to be loaded and to answer its samples, besides TensorFlow and four times its files."""
TIMEOUT_S = 300.0
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "SYSTEMROOT", "DYLD_LIBRARY_PATH")


def check_foreign(path: Path) -> None:
    """Raise `ForeignArtifact` for an artifact that does more than compute, does not load, or needs more memory or time
    than it may. Takes some seconds."""
    n_bytes = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    megabytes = MEMORY_MB + 4 * (n_bytes >> 20)
    with tempfile.TemporaryDirectory(prefix="railcar-look-") as empty:
        command = [sys.executable, "-m", "railcar.artifact.sandbox", str(path.absolute()), str(megabytes)]
        try:
            done = subprocess.run(
                command,
                cwd=empty,
                env=_environment(empty),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT_S,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _refused(path, f"it was not loaded within {TIMEOUT_S:.0f} s") from error
    found = _read_answer(done.stdout)
    if found is None:
        raise _refused(path, f"the process that looked at it broke down; the limit is {megabytes:,} MB of memory")
    if what := found.get("what"):
        raise _refused(path, str(what), str(found.get("hint") or ""))


def _environment(empty: str) -> dict[str, str]:
    """No secrets, no settings, no GPU; a home that is empty."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    paths = os.pathsep.join(str(Path(one).absolute()) for one in sys.path if one)
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONDONTWRITEBYTECODE": "1"}
    # Each thread's stack counts as memory that is taken.
    quiet |= {"TF_NUM_INTRAOP_THREADS": "2", "TF_NUM_INTEROP_THREADS": "2", "OMP_NUM_THREADS": "2"}
    places = {"HOME": empty, "KERAS_HOME": empty, "TMPDIR": empty, "PYTHONPATH": paths, "KERAS_BACKEND": "tensorflow"}
    return {**kept, **quiet, **places}


def _read_answer(output: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(output)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _refused(path: Path, what: str, hint: str = "") -> ForeignArtifact:
    what = what.replace(str(path.absolute()), str(path))
    what = what if what.startswith(str(path)) else f"{path}: {what}"
    return ForeignArtifact(what, hint=hint or "it is not loaded; ask who made it, or train it yourself")

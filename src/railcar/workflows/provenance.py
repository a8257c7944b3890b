"""What a result came from: versions, and the commit of the working folder."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

import railcar

_PACKAGES = ("keras", "numpy", "polars", "tensorboard", "tensorflow", "tensorflow-cpu")


def read_versions() -> dict[str, str]:
    """Of Python, railcar and the packages that results depend on, as far as they are installed."""
    found = {"python": platform.python_version(), "railcar": railcar.__version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def read_git_commit() -> str | None:
    """The commit of the working folder, None where there is none."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None

"""axe-core for the tests of pages."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core, where `make test` puts it; without it the test is skipped; where CI is set it fails."""
    path = Path(sys.prefix) / "axe" / "axe.min.js"
    if not path.is_file():
        missing = f"needs axe-core: python scripts/fetch_axe.py {path.parent}"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return path.read_text(encoding="utf-8")

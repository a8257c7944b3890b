"""`python -m railcar` is the command `railcar`."""

from __future__ import annotations

import sys

from railcar.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

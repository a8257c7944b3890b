"""How much a workflow prints while it works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from railcar.training.progress import Reporter


@dataclass(frozen=True)
class Look:
    """`color` None means: if stderr is a terminal and NO_COLOR is not set."""

    quiet: bool = False
    verbose: bool = False
    color: bool | None = None

    def reporter(self, log_path: Path | None = None) -> Reporter:
        return Reporter(log_path, quiet=self.quiet, verbose=self.verbose, color=self.color)

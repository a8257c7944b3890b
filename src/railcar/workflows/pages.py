"""What is told of a run, its report and its model card, written after a training and after an evaluation of its own
data. The run itself is worth more: whatever stands in their way is a warning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from railcar.runs.run_dir import RunDir
from railcar.training.progress import Reporter
from railcar.workflows.card import write_card
from railcar.workflows.report import write_report


def write_pages(run: RunDir, reporter: Reporter) -> None:
    """report.html and model-card.md, from the run's files as they are."""
    with sparing(reporter, f"report.html could not be written; try again with: railcar report {run.reference}"):
        write_report(run)
    with sparing(reporter, f"model-card.md could not be written; try again with: railcar evaluate {run.reference}"):
        write_card(run)


@contextmanager
def sparing(reporter: Reporter, what: str) -> Iterator[None]:
    """Within it, an error is a warning: `what`, and the reason."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(getattr(error, "what", None) or f"{type(error).__name__}: {error}").split())[:200]
        reporter.warn(f"{what} ({reason})")

"""After the last step: the model that is kept, what it is worth, and the pages about it. The manifest says `finished`
when all that others read is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from railcar.runs.run_dir import RunDir, now_text
from railcar.training.progress import Reporter, format_seconds
from railcar.training.tensorflow import quiet_stderr
from railcar.workflows.encoding import judge_fine_tuning
from railcar.workflows.job import Job

if TYPE_CHECKING:
    from railcar.training.state import Progress


@dataclass(frozen=True)
class Outcome:
    """What came of a training: the evaluation as evaluation.json has it, seconds, and the examples a second."""

    evaluation: dict[str, Any]
    seconds_training: float
    examples_per_s: float


def finish(job: Job, run: RunDir, progress: Progress, reporter: Reporter) -> Outcome:
    """Write all that a finished run has. Of several workers the chief does it, and tells the others."""
    from railcar.reporting.tables import format_evaluation
    from railcar.runs.checkpoint import find_checkpoint
    from railcar.workflows.card import write_card
    from railcar.workflows.report import write_report

    checkpoint, damaged = find_checkpoint(run, "last" if job.recipe.training.best == "last" else None)
    for line in damaged:
        reporter.warn(line)
    manifest = run.read_manifest()
    evaluation, note = _write_results(job, run, progress, checkpoint, reporter)
    if note:
        reporter.warn(note)
    rates = [row["examples_per_s"] for row in run.read_metrics() if row.get("examples_per_s")]
    rate = sorted(rates)[len(rates) // 2] if rates else 0.0
    seconds = round(progress.seconds_training, 3)
    ended = {"state": "finished", "ended": now_text(), "seconds_training": seconds, "examples_per_s": rate}
    if progress.ending.reason:
        ended["ended_early"] = progress.ending.reason
        reporter.say(f"ended after step {progress.step:,} of {job.plan.n_steps:,}: {progress.ending.reason}")
    run.write_manifest({**manifest, **ended})
    for what, write in (("report.html", write_report), ("model-card.md", write_card)):
        with _sparing(reporter, f"{what} could not be written", run):
            write(run)
    if line := judge_fine_tuning(job.recipe, job.plan, checkpoint.step):
        reporter.say(line)
    noun = job.dataset.features.noun
    reporter.say(f"trained {progress.step:,} steps in {format_seconds(seconds)}, {rate:,.0f} {noun}/s")
    reporter.log_only(format_evaluation(evaluation))
    if job.replicas:
        facts = {"path": str(run.path), "evaluation": evaluation, "seconds_training": seconds, "examples_per_s": rate}
        job.replicas.share({**facts, "recipe": job.recipe.model_dump(mode="json")})
        job.replicas.leave()
    return Outcome(evaluation, seconds, rate)


@contextmanager
def _sparing(reporter: Reporter, what: str, run: RunDir) -> Iterator[None]:
    """Whatever stands in the way of what is only told of a run is a warning: its model is there, and is worth more."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(getattr(error, "what", None) or f"{type(error).__name__}: {error}").split())[:200]
        reporter.warn(f"{what}: {reason}; try again with: railcar report --explain {run.reference}")


def _write_results(
    job: Job, run: RunDir, progress: Progress, checkpoint: Any, reporter: Reporter
) -> tuple[dict[str, Any], str]:
    """The evaluation, and what is to be said of the artifact."""
    with quiet_stderr(run.log_path):
        from railcar.workflows.board import show_results
        from railcar.workflows.report import explain_run
        from railcar.workflows.results import Finished, write_results

        finished = Finished.restore(job.recipe, job.dataset, checkpoint, encoded=job.encoded)
        evaluation, artifact = write_results(run, finished, job.recipe)
        with _sparing(reporter, "TensorBoard is not shown the results", run):
            show_results(run, finished, job.recipe, progress.seconds_training)
        with _sparing(reporter, "report.json could not be written", run):
            explain_run(run, finished, job.recipe, progress.seconds_training)
    return evaluation, artifact.note

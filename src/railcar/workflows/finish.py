"""After the last step: the model that is kept, what it is worth, and the pages about it. The manifest says `finished`
when all but the pages is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from railcar.runs.run_dir import RunDir, now_text
from railcar.training.live import format_seconds
from railcar.training.progress import Reporter
from railcar.training.tensorflow import quiet_stderr
from railcar.workflows.encoding import judge_fine_tuning
from railcar.workflows.job import Job

if TYPE_CHECKING:
    from railcar.training.state import Progress


_MIN_S, _SHARE = 2.0, 0.05
"""Explaining takes at most so long, or this share of the training."""


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
    from railcar.workflows.pages import write_pages

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
    write_pages(run, reporter)
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


def _write_results(
    job: Job, run: RunDir, progress: Progress, checkpoint: Any, reporter: Reporter
) -> tuple[dict[str, Any], str]:
    """The evaluation, and what is to be said of the artifact."""
    with quiet_stderr(run.log_path):
        from railcar.workflows.board import show_results
        from railcar.workflows.pages import sparing
        from railcar.workflows.report import explain_run
        from railcar.workflows.results import Finished, write_results

        finished = Finished.restore(job.recipe, job.dataset, checkpoint, encoded=job.encoded)
        evaluation, artifact = write_results(run, finished, job.recipe)
        again = f"try again with: railcar report --explain {run.reference}"
        with sparing(reporter, "TensorBoard is not shown the results"):
            show_results(run, finished, job.recipe, progress.seconds_training)
        with sparing(reporter, f"report.json could not be written; {again}"):
            explain_run(run, finished, job.recipe, max(_MIN_S, _SHARE * progress.seconds_training))
    return evaluation, artifact.note

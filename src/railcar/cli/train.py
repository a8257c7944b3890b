"""`railcar train`: parse, call `workflows.train`, print the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from railcar.cli.console import Console
from railcar.cli.options import Duration, common_options, recipe_options, runs_dir_option, trust_option
from railcar.cli.rental import rental_options
from railcar.cli.text import format_duration, format_table
from railcar.errors import UsageError
from railcar.registry import MODELS

if TYPE_CHECKING:
    from railcar.workflows.train import Run

_EXAMPLE = {"image": "IMAGE...", "text": "--text TEXT", "table": "ROWS.csv"}


@click.command()
@click.argument("data", required=False, metavar="[DATA|RECIPE]")
@recipe_options
@click.option("--name", metavar="NAME", help="Starts the name of the run's folder.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    help="Go on with a run that was stopped: the newest, or --resume=RUN. With --set training.steps=N, make it longer.",
)
@click.option(
    "--take-over",
    is_flag=True,
    help="With --resume: the computer that last trained this run in a bucket is dead; do not wait until it is known.",
)
@click.option("--from", "from_run", metavar="RUN", help="Begin a new run with the weights of RUN's best checkpoint.")
@trust_option
@click.option(
    "--time",
    "time_s",
    type=Duration(),
    metavar="TIME",
    help="How long all may take: 90s, 10m, 1h30m. As many steps are made as fit.",
)
@click.option(
    "--folds",
    type=int,
    metavar="N",
    help="Train N times, each tested on a part that the others learn from; tell the mean and its error.",
)
@click.option("--dry-run", is_flag=True, help="Read the data, show all choices and the full recipe, and end.")
@click.option(
    "--estimate",
    is_flag=True,
    help="Time some steps, say what a GPU would take and cost, and whether it pays; and end.",
)
@click.option("--find-lr", is_flag=True, help="Try learning rates in a short training, say which to take, and end.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Train with N processes on this computer, which share every batch, for trying out.",
)
@click.option(
    "--profile",
    metavar="FIRST:LAST",
    help="Trace some steps and say which operations took the longest: 100:120 are the twenty after the first hundred.",
)
@rental_options(with_on=True)
@runs_dir_option
@common_options(json=True)
def command(
    data: str | None,
    overrides: tuple[str, ...],
    name: str | None,
    resume: str | None,
    take_over: bool,
    from_run: str | None,
    trust: bool,
    time_s: float | None,
    folds: int | None,
    dry_run: bool,
    estimate: bool,
    find_lr: bool,
    workers: int,
    profile: str | None,
    rental: dict[str, Any] | None,
    runs_dir: Path | str,
    console: Console,
) -> int | None:
    """Train a model on DATA, or as RECIPE says, then evaluate and keep it.

    DATA is a folder with one folder of images or texts for each class, a file of rows (CSV, JSONL, Parquet, Arrow) of
    texts, of a table or of pixels, an npz, a folder of IDX files, or the name of a known set (mnist, mnist-sample).
    RECIPE is a YAML or Python file, or a bundled recipe's name. With neither, the recipe mnist is trained on the
    embedded sample, without a network.
    """
    from railcar.workflows.inputs import resolve_input, with_name
    from railcar.workflows.requests import check_alone, check_time, read_profile

    # A fault of the recipe is told before anything else is imported.
    is_new = resume is None and from_run is None
    given = resolve_input(data, with_name(overrides, name)) if is_new else data
    if trust and from_run is None:
        raise UsageError("--trust is for --from RUN", hint="leave it out")
    _refuse_mixtures(
        {
            "--on": rental is not None,
            "--resume": resume is not None,
            "--from": from_run is not None,
            "--time": time_s is not None,
            "--folds": folds is not None,
            "--dry-run": dry_run,
            "--estimate": estimate,
            "--find-lr": find_lr,
            "--workers": workers > 1,
            "--profile": profile is not None,
        }
    )
    look: dict[str, Any] = {"quiet": console.quiet, "verbose": console.verbose, "color": console.color}
    if rental is not None:
        if resume is not None:
            check_alone(data, name, from_run)
        if time_s is not None:
            check_time(time_s, resume is not None, workers)
        read_profile(profile, workers)
        return _train_away(given, resume, overrides, rental, time_s, profile, runs_dir, console)
    if folds is not None:
        return _show_folds(data, folds, with_name(overrides, name), time_s, runs_dir, look, console)
    if dry_run:
        return _show_plan(given, look, console)
    if estimate:
        return _show_estimate(given, look, console)
    if find_lr:
        return _find_rate(given, runs_dir, look, console)

    from railcar.workflows.train import train

    run = train(
        given,
        overrides=() if is_new else overrides,
        name=None if is_new else name,
        resume=False if resume is None else resume or True,
        take_over=take_over,
        from_run=from_run,
        trust=trust,
        time_s=time_s,
        workers=workers,
        profile=profile,
        runs_dir=runs_dir,
        **look,
    )
    if run.is_chief:
        _show_result(run, console)
    return None


_OLD = ("--resume", "--from")
_INSTEAD = ("--dry-run", "--estimate", "--find-lr")
_ALONE = {
    "--on": ("--on is for one training, new or stopped", ("--from", *_INSTEAD, "--folds", "--workers")),
    "--time": ("--time is for a training", _INSTEAD),
    "--profile": ("--profile is of one training, in one process", (*_INSTEAD, "--folds", "--workers")),
    "--folds": ("--folds begins new trainings, one after the other", (*_OLD, *_INSTEAD, "--workers")),
    "--dry-run": ("--dry-run shows what a new training would do", (*_OLD, "--estimate", "--find-lr")),
    "--estimate": ("--estimate is of a new training", (*_OLD, "--find-lr")),
    "--find-lr": ("--find-lr tries rates for a new training", _OLD),
}
"""Option -> what it is for, and those that it does not go with."""


def _refuse_mixtures(given: dict[str, bool]) -> None:
    for option, (what, others) in _ALONE.items():
        if given[option] and (other := next((one for one in others if given[one]), None)):
            raise UsageError(what, hint=f"leave {other} out")


def _train_away(
    given: Any,
    resume: str | None,
    overrides: tuple[str, ...],
    asked: dict[str, Any],
    time_s: float | None,
    profile: str | None,
    runs_dir: Path | str,
    console: Console,
) -> int:
    """On another machine, a new training or one that goes on; the status is that of the training there."""
    from railcar.cli.machine import show_away
    from railcar.cli.rental import make_rental
    from railcar.recipe.load import load_recipe
    from railcar.runs.index import find_run
    from railcar.workflows.inputs import to_words
    from railcar.workflows.nodes import train_on_nodes
    from railcar.workflows.on_machine import train_on
    from railcar.workflows.packing import pack, pack_run
    from railcar.workflows.resume import check_goes_on

    if not isinstance(runs_dir, Path):
        raise UsageError(f"--runs-dir: {runs_dir} is in a bucket", hint="with --on runs come home to a folder")
    words = ["--json"] if console.json else []
    if resume is not None:
        check_goes_on(run := find_run(resume or None, runs_dir), overrides)
        load, recipe = pack_run(run), load_recipe(run.recipe_path)
        words += to_words(overrides)
    else:
        load, recipe = pack(given), given.recipe
        words += [] if given.is_complete else ["--name", recipe.name, *to_words(given.overrides)]
        words += ["--time", f"{time_s:g}s"] if time_s is not None else []
    words += ["--profile", profile] if profile is not None else []
    rental = make_rental(asked, recipe)
    if profile is not None and rental.nodes > 1:
        raise UsageError("--profile is for one process", hint="leave it out, or set machine.nodes to 1")
    train = train_on_nodes if rental.nodes > 1 else train_on
    away = train(rental, load, words, runs_dir, console.note, console.pass_on)
    return show_away(away, console)


def _show_result(run: Run, console: Console) -> None:
    if not console.json:
        console.result(format_result(run))
        return
    console.json_result(
        {
            "run": run.name,
            "path": str(run.path),
            "address": run.address,
            "evaluation": run.evaluation,
            "seconds_training": run.seconds_training,
            "examples_per_s": run.examples_per_s,
        }
    )


def _show_folds(
    data: str | None,
    folds: int,
    overrides: Any,
    time_s: float | None,
    runs_dir: Path | str,
    look: dict[str, Any],
    console: Console,
) -> None:
    from railcar.reporting.tables import format_folds
    from railcar.workflows.folds import cross_validate

    found = cross_validate(data, folds, overrides=overrides, time_s=time_s, runs_dir=runs_dir, **look)
    if console.json:
        console.json_result(found.to_dict())
        return
    console.result(format_folds(found.to_dict()))


def _show_plan(given: Any, look: dict[str, Any], console: Console) -> None:
    from railcar.workflows.plan import plan

    console.result(plan(given, **look).rstrip())


def _show_estimate(given: Any, look: dict[str, Any], console: Console) -> None:
    from railcar.workflows.estimate import estimate

    found = estimate(given, **look)
    if console.json:
        console.json_result({**found.to_dict(), "verdict": found.verdict()})
        return
    setup = " to ".join(f"{seconds / 60:.0f}" for seconds in found.setup_s)
    rows = [["where", "machine", "training", "cost, with set-up"]]
    rows.append(["here", "this computer", format_duration(found.here_s), "-"])
    for one in found.gpus:
        times = " to ".join(format_duration(seconds) for seconds in one.training_s)
        rows.append(
            [one.gpu, f"{one.provider} {one.machine_type}", times, " to ".join(f"${usd:.2f}" for usd in one.usd)]
        )
    arithmetic = f"{found.flop / 1e9:.3g} GFLOP a step" if found.flop else "its arithmetic could not be counted"
    console.result(
        f"{found.n_steps:,} steps of {found.step_s * 1000:.3g} ms here; {arithmetic}\n\n"
        f"{format_table(rows, right_from=99)}\n\n"
        f"Here it was timed. On a GPU it is a range, from what networks reach of its peak at best and at worst;\n"
        f"setting a machine up takes {setup} minutes more. Prices of {found.date}.\n"
        f"{found.verdict()}"
    )


def _find_rate(given: Any, runs_dir: Path | str, look: dict[str, Any], console: Console) -> None:
    from railcar.workflows.find_rate import find_learning_rate

    found = find_learning_rate(given, runs_dir=runs_dir, **look)
    if console.json:
        rates = {"learning_rate": found.rate, "steepest": found.steepest, "lowest": found.lowest}
        console.json_result({**rates, "model": found.model or None})
        return
    network = f"--model {found.model} " if found.model else ""
    console.result(
        f"learning rate {found.rate:g}\n"
        f"the loss falls fastest at {found.steepest:.2g} and is lowest at {found.lowest:.2g}: {found.plot}\n"
        f"next  railcar train ... {network}--set training.optimizer.learning_rate={found.rate:g}"
    )


def format_result(run: Run) -> str:
    """The table at the end of a training, and what to do next."""
    from railcar.reporting.tables import format_evaluation

    name = run.recipe.model.name
    kind = MODELS[name].kind if name in MODELS else run.kind
    lines = [
        "",
        format_evaluation(run.evaluation),
        "",
        f"run   {run.address or run.path}",
        f"next  railcar predict {_EXAMPLE[kind]} · railcar report --open · railcar tensorboard",
    ]
    return "\n".join(lines)

"""`tune`: many trainings of one recipe, each with other values where it leaves some open; the best becomes a recipe.

Owns the folder of a search and how it is begun, gone on with and ended:

    study.json    what is searched: the recipe, what is open in it, how many trials, what counts
    study.db      every trial (SQLite; Optuna's own form)          log.txt   what the processes of the trials printed
    trials/       a run for each trial; their test side is never looked at
    best.yaml     the best recipe, to train by                     trials.json   all trials, with what they reached
    plots/        history, importance, parallel coordinates
    tensorboard/  what is open, for TensorBoard's HParams tab; what it shows of each trial is in the trial's folder
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from railcar.errors import Interrupted, NotFound, RunError, UsageError
from railcar.recipe.load import bundled_recipes, find_given, is_recipe_file, load_recipe, load_search
from railcar.recipe.schema import Recipe
from railcar.recipe.search import Parameter
from railcar.recipe.writing import recipe_to_yaml
from railcar.registry import PRETRAINED, check_installed, check_tensorflow
from railcar.reporting.tables import format_value
from railcar.runs.index import STUDY
from railcar.runs.place import find_place
from railcar.runs.run_dir import write_json
from railcar.storage.local import write_atomic
from railcar.storage.lock import LockHeld, hold_lock
from railcar.training.live import format_seconds
from railcar.training.progress import Reporter
from railcar.tuning.space import choose_space
from railcar.tuning.study import FAILED, FINISHED, Direction, Study, Trial
from railcar.workflows.inputs import (
    Input,
    Overrides,
    begin_afresh,
    look_up,
    resolve_input,
    settle_recipe,
    with_settings,
)
from railcar.workflows.look import Look
from railcar.workflows.tune_board import show_in_tensorboard
from railcar.workflows.tune_workers import Workers

N_TRIALS = 20
# What a search has no use for, or too much of.
_BARE = {"training.tensorboard": False, "training.keep_checkpoints": 1}


@dataclass(frozen=True)
class Found:
    """What a search has found: its folder, all trials, the best of them, the one that the recipe had (`default`; None
    where it failed), what counts (`measure`, higher is better if `is_higher_better`), and how much each key decides."""

    path: Path
    trials: tuple[Trial, ...]
    best: Trial | None
    default: Trial | None
    measure: str
    is_higher_better: bool
    importances: dict[str, float]

    @property
    def recipe(self) -> Path:
        """The best recipe: `railcar train` takes it."""
        return self.path / "best.yaml"

    def to_dict(self) -> dict[str, Any]:
        best, default = (asdict(one) if one else None for one in (self.best, self.default))
        facts = {"measure": self.measure, "is_higher_better": self.is_higher_better, "importances": self.importances}
        recipe = str(self.recipe) if self.best else None
        return {"path": str(self.path), "recipe": recipe, **facts, "best": best, "default": default} | {
            "trials": [asdict(one) for one in self.trials]
        }


@dataclass(frozen=True)
class _Plan:
    """As study.json has it."""

    recipe: Recipe
    space: tuple[Parameter, ...]
    n_trials: int
    measure: str

    @property
    def direction(self) -> Direction:
        return "maximize" if self.measure == "val_accuracy" else "minimize"


def tune(
    data: Any = None,
    *,
    overrides: Overrides = (),
    n_trials: int | None = None,
    time_s: float | None = None,
    workers: int = 1,
    resume: str | bool = False,
    runs_dir: str | Path = "runs",
    quiet: bool = False,
    verbose: bool = False,
    color: bool | None = None,
) -> Found:
    """Search for a better recipe: `n_trials` trainings (20), the first by the recipe as it is.

    `data` is as for `train`; a recipe may leave values open (`{search: [1.0e-4, 1.0e-2], log: true}`,
    `{choose: [3, 5]}`), else length, batch size, learning rate and what the network has of dropout, width and kernel
    size are searched. What counts is `training.best` on validation; the test side is not looked at. `time_s` is how
    long all may take. `workers` trials are made at a time. `resume` goes on with a search (True: the newest; or its
    name): no finished trial is made again.

    Raises `UsageError`, `RecipeError` and `DataError` before the first trial, and `Interrupted` after a signal.
    """
    check_installed("optuna", package="Optuna", extra="tune", needed_for="railcar tune")
    check_installed("matplotlib", package="matplotlib", extra="cpu", needed_for="drawing a search")
    check_tensorflow("training")
    began, look, place = time.monotonic(), Look(quiet, verbose, color), find_place(runs_dir)
    if place.address is not None:
        raise UsageError("a search is kept in a folder", hint="leave the bucket out of --runs-dir")
    if workers < 1 or (n_trials is not None and n_trials < 1):
        raise UsageError("--trials and --workers count from 1", hint="leave them out for 20 trials, one at a time")
    with closing(look.reporter()) as reporter:
        if resume is not False:
            folder = find_search(place.folder, resume)
            plan = _read_plan(folder)
            plan = replace(plan, n_trials=n_trials or plan.n_trials)
        else:
            plan = _make_plan(data, overrides, n_trials or N_TRIALS, reporter)
            folder = _make_folder(place.folder, plan)
        try:
            with hold_lock(folder / "lock"):
                _write_plan(folder, plan)
                return _search(folder, plan, reporter, workers, began + time_s if time_s is not None else None)
        except LockHeld as held:
            what = f"{folder}: this search is still going on in another process"
            raise RunError(what, hint="wait for it, or end it there") from held


def _make_plan(data: Any, overrides: Overrides, n_trials: int, reporter: Reporter) -> _Plan:
    """The whole recipe that suits the data, and what is searched."""
    from railcar.workflows.data import read_data

    if _is_recipe(data):
        recipe, space = load_search(data, overrides)
        given = resolve_input(recipe)
    else:
        space = load_search({}, overrides, is_partial=True)[1]
        first = {one.key: one.values[0] for one in space}
        given = resolve_input(data, with_settings(overrides, first))
    if given.arrays is not None:
        raise UsageError("a search reads its data in several processes", hint="write it to a file, and name that")
    dataset = read_data(given.recipe, None, reporter)
    if "validation" not in dataset.splits:
        raise UsageError("a search is judged on validation, and there is none", hint="set data.validation")
    given = _without_downloads(given, settle_recipe(given, dataset)[0], reporter)
    recipe = settle_recipe(given, dataset)[0]
    n_train = len(dataset.splits["train"])
    node = recipe.training
    n_steps = node.steps or max(1, round(n_train / node.batch_size * (node.epochs or 1)))
    measure = "val_accuracy" if node.best == "val_accuracy" else "val_loss"
    fixed = find_given(overrides)
    chosen = tuple(space or choose_space(recipe, n_steps=n_steps, n_train=n_train, fixed=fixed))
    if not chosen:
        what = "all that is searched for by itself is set by hand"
        raise UsageError(what, hint="leave a --set out, or open a key: --set 'model.dropout={search: [0, 0.6]}'")
    return _Plan(recipe, chosen, n_trials, measure)


def _is_recipe(data: Any) -> bool:
    """As `railcar train` takes it: a file of a recipe, or the name of one where nothing else is called so."""
    if not isinstance(data, str | Path):
        return isinstance(data, Recipe | dict)
    return is_recipe_file(str(data)) or (str(data) in bundled_recipes() and not Path(data).exists())


def _without_downloads(given: Input, recipe: Recipe, reporter: Reporter) -> Input:
    """Weights that nobody asked for are not fetched for a search."""
    other = begin_afresh(given) if recipe.model.name == PRETRAINED else None
    if other is None:
        return given
    reporter.say("searching among networks that begin afresh: pre-trained ones with --set model.name=pretrained")
    return other


def _make_folder(place: Path, plan: _Plan) -> Path:
    name = f"{plan.recipe.name}-tune-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    folder = place / name
    (folder / "trials").mkdir(parents=True)
    return folder


def find_search(place: Path, wanted: str | bool) -> Path:
    """The folder of a search in `place`, by the beginning of its name, or by its path; True for the newest. Raises
    `NotFound`."""
    if wanted is not True and (Path(str(wanted)) / STUDY).is_file():
        return Path(str(wanted))
    found = sorted((one.parent for one in place.glob(f"*/{STUDY}")), key=lambda one: (one / STUDY).stat().st_mtime)
    if wanted is not True:
        found = [one for one in found if one.name.startswith(str(wanted))]
    if not found:
        named = "" if wanted is True else f" called {wanted}"
        raise NotFound(f"there is no search{named} in {place}", hint="begin one: railcar tune DATA")
    return found[-1]


def _write_plan(folder: Path, plan: _Plan) -> None:
    about = {"recipe": plan.recipe.model_dump(mode="json"), "space": [asdict(one) for one in plan.space]}
    write_json(folder / STUDY, {"format": 1, **about, "n_trials": plan.n_trials, "measure": plan.measure})


def _read_plan(folder: Path) -> _Plan:
    try:
        told = json.loads((folder / STUDY).read_bytes())
        space = tuple(Parameter(**{**one, "values": tuple(one["values"])}) for one in told["space"])
        return _Plan(load_recipe(told["recipe"]), space, told["n_trials"], told["measure"])
    except (ValueError, KeyError, TypeError) as error:
        what = f"{folder / STUDY}: is damaged: {error}"
        raise RunError(what, hint="begin a new search: railcar tune DATA") from error


def _search(folder: Path, plan: _Plan, reporter: Reporter, n_workers: int, until: float | None) -> Found:
    study = Study(
        folder / "study.db", plan.space, direction=plan.direction, seed=plan.recipe.seed, n_trials=plan.n_trials
    )
    first = {one.key: _plain(_find_first(plan.recipe, one)) for one in plan.space}
    n_again = study.begin(first)
    before = len(study.trials)
    reporter.say(f"search           {folder}")
    reporter.say(f"open             {', '.join(_describe(one) for one in plan.space)}", indent=17)
    if before or n_again:
        again = f"; {n_again} that were going on begin again" if n_again else ""
        reporter.say(f"going on after {before} of {plan.n_trials} trials{again}")

    def describe(number: int, settings: dict[str, Any]) -> dict[str, Any]:
        name = {"name": f"trial-{number:03d}"}
        recipe = plan.recipe.model_dump(mode="json")
        return {"recipe": recipe, "settings": {**_BARE, **name, **settings}, "runs_dir": str(folder / "trials")}

    def measure(seen: list[dict[str, float]]) -> float | None:
        values = [one[plan.measure] for one in seen if plan.measure in one]
        if not values or plan.recipe.training.best == "last":
            return values[-1] if values else None
        return max(values) if plan.direction == "maximize" else min(values)

    def on_end() -> None:
        trial, best = study.trials[-1], study.best
        write_json(folder / "trials.json", [asdict(one) for one in study.trials])
        show_in_tensorboard(folder, study.trials, plan.space, plan.measure)
        reporter.say(_tell_trial(trial, best, plan), indent=9)

    hint = f"go on with: railcar tune --resume={folder.name}"
    try:
        Workers(
            study,
            n_workers=n_workers,
            n_trials=plan.n_trials,
            until=until,
            log=folder / "log.txt",
            describe=describe,
            measure=measure,
            on_end=on_end,
        ).run()
    except Interrupted as stopped:
        done = f"{len(study.trials)} of {plan.n_trials} trials are done and kept"
        raise Interrupted(done, hint=hint, exit_status=stopped.exit_status) from stopped
    return _conclude(folder, plan, study)


def _conclude(folder: Path, plan: _Plan, study: Study) -> Found:
    from railcar.reporting.study_plots import plot_study

    trials, best = tuple(study.trials), study.best
    default = next((one for one in trials if one.is_first and one.state == FINISHED), None)
    found = Found(folder, trials, best, default, plan.measure, plan.direction == "maximize", study.importances())
    if best is not None:
        recipe = load_recipe(plan.recipe, best.settings)
        at_first = f", the recipe as it was {default.value:.4g}" if default and default.value is not None else ""
        reached = f"{plan.measure} {best.value:.4g}{at_first}"
        head = f"# Found by railcar tune: trial {best.number}, the best of {len(trials)}, {reached}.\n"
        head += f"# railcar train {folder / 'best.yaml'}\n"
        write_atomic(folder / "best.yaml", (head + recipe_to_yaml(recipe)).encode())
        plot_study(found.to_dict(), [one.key for one in plan.space if one.is_log], folder / "plots")
    return found


def _find_first(recipe: Recipe, one: Parameter) -> Any:
    """The recipe's own value; of a length in steps, where it has epochs, the middle of what is searched."""
    value = look_up(recipe, one.key)
    if value is None and one.is_range:
        low, high = one.values
        value = (low * high) ** 0.5 if one.is_log else (low + high) / 2
    return round(value) if one.is_whole and value is not None else value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _describe(one: Parameter) -> str:
    name = one.key.rpartition(".")[2]
    if one.is_range:
        low, high = (f"{value:g}" for value in one.values)
        return f"{name} {low} to {high}"
    return f"{name} {' or '.join(format_value(value) for value in one.values)}"


def _tell_trial(trial: Trial, best: Trial | None, plan: _Plan) -> str:
    settings = ", ".join(f"{key.rpartition('.')[2]} {format_value(value)}" for key, value in trial.settings.items())
    value = f"{plan.measure} {trial.value:.4g}" if trial.value is not None else ""
    if trial.state == FAILED:
        value = f"{value} {trial.note}".strip()
    mark = " (best)" if best is not None and best.number == trial.number else ""
    state = "" if trial.state == FINISHED else f", {trial.state} after {trial.share:.0%}"
    return f"trial {trial.number:>3} {value}{mark}{state}, {format_seconds(trial.seconds)}: {settings}"

"""A search: what is tried next, what is given up, and what has been found, in a SQLite file that survives a kill.

Owns Optuna (https://optuna.org): its tree-structured Parzen estimator (Bergstra et al., 2011) proposes, the median of
other trials at the same share of their training prunes. Imported only where somebody tunes. Knows nothing of training.
"""

from __future__ import annotations

import json
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from railcar.errors import RunError
from railcar.recipe.search import Parameter
from railcar.registry import check_installed

Direction = Literal["minimize", "maximize"]
FINISHED, PRUNED, FAILED = "finished", "pruned", "failed"
# Trials that end by themselves before any is given up; and the share of a training before which none is.
_LEAST_TRIALS, _LEAST_SHARE = 4, 0.2
_KILLED, _FIRST = "killed", "is_first"


@dataclass(frozen=True)
class Trial:
    """One try: `settings` are dotted keys with their values; `value` is what is optimised; `share` is how much of its
    training was made; `note` says why it failed. `is_first` is the one that begins a
    search, with the settings that were there."""

    number: int
    state: str
    settings: Mapping[str, Any]
    value: float | None
    share: float
    run: str
    seconds: float
    note: str = ""
    is_first: bool = False


class Study:
    """The search in the file `path`, begun or gone on with. `direction` is "minimize" or "maximize". Raises `RunError`
    for a file that is no search."""

    def __init__(
        self, path: Path, space: Sequence[Parameter], *, direction: Direction, seed: int, n_trials: int
    ) -> None:
        check_installed("optuna", package="Optuna", extra="tune", needed_for="railcar tune")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna, self._space, self._seed = optuna, tuple(space), seed
        self._n_startup = max(4, min(10, n_trials // 3))
        self.direction = direction
        try:
            self._study = optuna.create_study(
                storage=f"sqlite:///{path}", study_name="railcar", direction=direction, load_if_exists=True
            )
        except Exception as error:
            what = f"{path}: not the file of a search ({type(error).__name__})"
            raise RunError(what, hint="begin a new one") from error

    def begin(self, first: Mapping[str, Any]) -> int:
        """Give up what was going on when the search was killed: it is tried again, first of all. A new search begins
        with the settings `first`. Returns how many are tried again."""
        going = self._numbers(self._optuna.trial.TrialState.RUNNING)
        for trial in (self._study.trials[number] for number in going):
            # Asked for again before it is given up: a kill in between makes it twice, and never not at all.
            marks = {_FIRST: True} if trial.user_attrs.get(_FIRST) else {}
            # It may have been killed before all of its settings were drawn, or read from those that it was given.
            self._study.enqueue_trial({**trial.system_attrs.get("fixed_params", {}), **trial.params}, user_attrs=marks)
            self._trial(trial.number).set_user_attr(_KILLED, True)
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
        if not self._study.trials:
            settings = {one.key: _code(one, first[one.key]) for one in self._space}
            self._study.enqueue_trial(settings, user_attrs={_FIRST: True})
        return len(going)

    def ask(self) -> tuple[int, dict[str, Any]]:
        """The number of a new trial, and its settings."""
        optuna = self._optuna
        # A seed for each number: two trials with one would draw the same settings.
        number = next(iter(self._numbers(optuna.trial.TrialState.WAITING)), len(self._study.trials))
        self._study.sampler = optuna.samplers.TPESampler(
            seed=self._seed + number, n_startup_trials=self._n_startup, constant_liar=True
        )
        trial = self._study.ask()
        return trial.number, {one.key: self._suggest(trial, one) for one in self._space}

    def report(self, number: int, share: float, value: float) -> bool:
        """Note a validation after `share` of a training; returns whether the trial is to be given up."""
        trial = self._trial(number)
        if value != value:  # no number
            return False
        trial.report(value, step=round(1000 * share))
        return self._is_hopeless(number, share)

    def tell(self, number: int, state: str, value: float | None, **facts: Any) -> None:
        """Note how a trial ended; `facts` are `run`, `seconds` and `note`."""
        trial = self._trial(number)
        for key, fact in facts.items():
            trial.set_user_attr(key, fact)
        trial.set_user_attr("value", value)
        states = self._optuna.trial.TrialState
        if state == FINISHED and value is not None and value == value:
            self._study.tell(number, value)
        else:
            self._study.tell(number, state=states.PRUNED if state == PRUNED else states.FAIL)

    @property
    def trials(self) -> list[Trial]:
        """Those that have ended, in order, without those that a kill has ended."""
        ended = [one for one in self._study.trials if one.state.is_finished()]
        return [self._describe(one) for one in ended if not one.user_attrs.get(_KILLED)]

    @property
    def best(self) -> Trial | None:
        """The best that went to its end."""
        ended = [one for one in self.trials if one.state == FINISHED and one.value is not None]
        choose = min if self.direction == "minimize" else max
        return choose(ended, key=lambda one: one.value or 0.0) if ended else None

    def importances(self) -> dict[str, float]:
        """Of each key, how much of what makes trials good or bad it decides (0 to 1, together 1), most first; empty
        for too few trials (PED-ANOVA, Watanabe et al., 2023)."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of few trials it says that it can tell little
                return self._read_importances()
        except (ValueError, RuntimeError):
            return {}

    def _read_importances(self) -> dict[str, float]:
        evaluator = self._optuna.importance.PedAnovaImportanceEvaluator()
        return dict(self._optuna.importance.get_param_importances(self._study, evaluator=evaluator))

    def _numbers(self, state: Any) -> list[int]:
        return [trial.number for trial in self._study.trials if trial.state == state]

    def _trial(self, number: int) -> Any:
        return self._optuna.trial.Trial(self._study, self._study.trials[number]._trial_id)

    def _suggest(self, trial: Any, one: Parameter) -> Any:
        if not one.is_range:
            return json.loads(trial.suggest_categorical(one.key, [json.dumps(value) for value in one.values]))
        suggest = trial.suggest_int if one.is_whole else trial.suggest_float
        return suggest(one.key, *one.values, log=one.is_log)

    def _describe(self, trial: Any) -> Trial:
        states = self._optuna.trial.TrialState
        names = {states.COMPLETE: FINISHED, states.PRUNED: PRUNED, states.FAIL: FAILED}
        facts = trial.user_attrs
        settings = {one.key: _decode(one, trial.params[one.key]) for one in self._space if one.key in trial.params}
        share = max(trial.intermediate_values, default=0) / 1000
        return Trial(
            trial.number,
            names[trial.state],
            settings,
            facts.get("value"),
            1.0 if trial.state == states.COMPLETE else share,
            facts.get("run", ""),
            facts.get("seconds", 0.0),
            facts.get("note", ""),
            bool(facts.get(_FIRST)),
        )

    def _is_hopeless(self, number: int, share: float) -> bool:
        """Whether its best until here is worse than the median of the others' at the same share of their training."""
        if share < _LEAST_SHARE or share >= 1:
            return False
        step, trials = round(1000 * share), self._study.trials
        others = [self._best_until(one, step) for one in trials if one.state == self._optuna.trial.TrialState.COMPLETE]
        others = [one for one in others if one is not None]
        own = self._best_until(trials[number], step)
        if own is None or len(others) < _LEAST_TRIALS:
            return False
        middle = statistics.median(others)
        return own > middle if self.direction == "minimize" else own < middle

    def _best_until(self, trial: Any, step: int) -> float | None:
        values = [value for at, value in trial.intermediate_values.items() if at <= step]
        return (min(values) if self.direction == "minimize" else max(values)) if values else None


def _code(one: Parameter, value: Any) -> Any:
    """As Optuna keeps a value: lists are text to it. The nearest value of a range."""
    if not one.is_range:
        plain = list(value) if isinstance(value, tuple) else value
        return json.dumps(plain if plain in one.values else one.values[0])
    low, high = one.values
    return min(max(value, low), high)


def _decode(one: Parameter, value: Any) -> Any:
    return value if one.is_range else json.loads(value)

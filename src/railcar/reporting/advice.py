"""What to do next, from what a run's files say: the rules of thumb that somebody experienced goes through when looking
at a result. Owns the rules and their bounds; reads nothing, draws nothing.

Each rule takes the `Result` and gives a line or none. A bound is a judgement, not a test: the line says the figures
that it comes from.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True)
class Advice:
    """`level` is "error", "warning" or "note"; `what` was seen, and what mends it."""

    level: str
    what: str
    mend: str = ""


@dataclass(frozen=True)
class Result:
    """`evaluation` and `rows` are what evaluation.json and metrics.jsonl hold; `n_train` the training examples of each
    class; `doubtful` how many labels look wrong, `importance` rows {"column", "drop"} of a table, the largest first;
    `noun` what examples are called."""

    evaluation: Mapping[str, Any]
    rows: Sequence[dict[str, Any]]
    noun: str = "examples"
    n_train: dict[str, int] = field(default_factory=dict)
    n_doubtful: int = 0
    importance: Sequence[dict[str, Any]] = ()

    @property
    def shown(self) -> dict[str, Any]:
        return next((self.evaluation[one] for one in ("test", "validation") if self.evaluation.get(one)), {})

    @property
    def is_regression(self) -> bool:
        return "mae" in self.shown

    @property
    def kept_step(self) -> int:
        number = str(self.evaluation.get("checkpoint")).removeprefix("step-")
        return int(number) if number.isdecimal() else 0

    def series(self, key: str) -> list[tuple[int, float]]:
        return [(row["step"], row[key]) for row in self.rows if isinstance(row.get(key), int | float)]


def advise(result: Result) -> list[Advice]:
    """All that applies, the gravest first."""
    if not result.shown:
        return []
    found = [advice for rule in _RULES if (advice := rule(result)) is not None]
    order = (ERROR, WARNING, NOTE)
    return sorted(found, key=lambda one: order.index(one.level))


def _learnt_nothing(result: Result) -> Advice | None:
    shown = result.shown
    if result.is_regression:
        if shown["mae"] is None:
            return Advice(ERROR, "what it says are no numbers", "a lower learning rate, and a look at the labels")
        if shown["r2"] is None or shown["r2"] > 0.05:
            return None
        what = f"it is no better than always saying the mean (R2 {shown['r2']:.3f})"
    else:
        most = max((row["n"] for row in shown["per_class"]), default=0) / shown["n"]
        low = shown["accuracy_95"][0]
        if low > most or shown["accuracy"] >= 0.999:
            return None
        what = f"it is hardly better than always saying the most frequent class ({shown['accuracy']:.1%} to {most:.1%})"
    return Advice(ERROR, what, "look whether labels and data belong together (railcar data check), and train longer")


_OVERFIT_GAP, _OVERFIT_RATIO = 0.05, 1.5
# A smaller loss is as good as none; and what accuracy must gain for more steps to be worth their time.
_NO_LOSS, _GAIN = 0.02, 0.005


def _learnt_by_heart(result: Result) -> Advice | None:
    """Much better on what it was trained on than on validation, in the last tenth of the training."""
    if result.is_regression:
        train, held = _last(result.series("mae")), _last(result.series("val_mae"))
        if train is None or held is None or held < _OVERFIT_RATIO * train or train == 0:
            return None
        figures = f"mean error {train:.3g} in training, {held:.3g} on validation"
    else:
        train, held = _last(result.series("accuracy")), _last(result.series("val_accuracy"))
        if train is None or held is None or train - held < _OVERFIT_GAP:
            return None
        figures = f"{train:.1%} right in training, {held:.1%} on validation"
    mend = "more data helps most; then data.augment (images), model.dropout, weight_decay, or a smaller network"
    return Advice(WARNING, f"it knows its training {result.noun} by heart (overfitting): {figures}", mend)


def _got_worse(result: Result) -> Advice | None:
    """The loss on validation was lowest long before the end."""
    losses = result.series("val_loss")
    if len(losses) < 5:
        return None
    step, least = min(losses, key=lambda one: one[1])
    end, last = losses[-1]
    if step > 0.6 * end or last < max(1.1 * least, _NO_LOSS):
        return None
    what = f"the loss on validation was lowest at step {step:,} of {end:,}, and rose from {least:.3g} to {last:.3g}"
    if result.kept_step > step:
        return Advice(NOTE, what, "set training.best=val_loss, and the weights of that step are the model")
    mend = f"nothing is lost, but time: set training.steps={_round_up(step)}, or training.early_stop"
    return Advice(NOTE, what, mend)


def _still_learning(result: Result) -> Advice | None:
    """The best validation is the last one, and the last two fifths still gained, in loss and in accuracy."""
    losses, scores = result.series("val_loss"), result.series("val_accuracy")
    if len(losses) < 3 or min(losses, key=lambda one: one[1]) != losses[-1]:
        return None
    end = losses[-1][0]
    before, last = _at_three_fifths(losses), losses[-1][1]
    if last > 0.9 * before or (scores and scores[-1][1] - _at_three_fifths(scores) < _GAIN):
        return None
    gain = f", and {_at_three_fifths(scores):.1%} right became {scores[-1][1]:.1%}" if scores else ""
    what = f"it was still learning at the end: the loss on validation fell from {before:.3g} to {last:.3g}{gain}"
    return Advice(WARNING, what, f"train longer: set training.steps={2 * end}")


def _not_once(result: Result) -> Advice | None:
    epochs = [value for _, value in result.series("epoch")]
    if not epochs or epochs[-1] > 0.95:
        return None
    what = f"it has seen only {epochs[-1]:.0%} of its training {result.noun}"
    return Advice(WARNING, what, "train longer: set training.epochs=3")


def _too_simple(result: Result) -> Advice | None:
    """Wrong in training as often as on validation, and not getting better."""
    if result.is_regression or _still_learning(result) is not None or _not_once(result) is not None:
        return None
    train, held = _last(result.series("accuracy")), _last(result.series("val_accuracy"))
    if train is None or held is None or train > 0.85 or train - held > 0.02:
        return None
    what = f"it fits even its training {result.noun} badly ({train:.1%} right; underfitting)"
    return Advice(WARNING, what, "a larger network, another one (model.name), a higher learning rate, or railcar tune")


def _untested(result: Result) -> Advice | None:
    rows = result.shown.get("per_class") or []
    missing = [row["class"] for row in rows if not row["n"]]
    if not missing:
        return None
    names = ", ".join(missing[:5]) + (f" and {len(missing) - 5:,} more" if len(missing) > 5 else "")
    what = f"there was nothing to test {len(missing):,} of {len(rows):,} classes by: {names}"
    return Advice(WARNING, what, "a larger data.test, or --folds 5, which tests on all of them")


_FEW_SHARE = 0.5


def _weak_classes(result: Result) -> Advice | None:
    """Classes that are found much worse than the rest; with fewer examples than the others, more of them help."""
    if result.is_regression or len(result.shown["per_class"]) < 3:
        return None
    rows = [row for row in result.shown["per_class"] if row["n"]]
    usual = statistics.median(row["f1"] for row in rows)
    weak = sorted((row for row in rows if row["f1"] < usual - 0.1), key=lambda row: row["f1"])
    if not weak:
        return None
    names = ", ".join(f"{row['class']} (F1 {row['f1']:.2f})" for row in weak[:4])
    more = f" and {len(weak) - 4} more" if len(weak) > 4 else ""
    middle = statistics.median(result.n_train.values()) if result.n_train else 0
    rare = [row["class"] for row in weak if result.n_train.get(row["class"], middle) < _FEW_SHARE * middle]
    mend = f"more {result.noun} of them"
    if rare:
        counts = ", ".join(f"{result.n_train[name]:,} of {name}" for name in rare[:3])
        mend += (
            f" (it was trained on {counts}; half of the classes have {middle:,.0f} or more), or data.balance=weights"
        )
    return Advice(WARNING, f"some classes are found much worse than the others: {names}{more}", mend)


def _too_good(result: Result) -> Advice | None:
    """Perfect results are rare; data that gives the answer away is not."""
    shown = result.shown
    if result.is_regression or shown["n"] < 200 or shown["n_right"] < shown["n"]:
        return None
    what = f"all {shown['n']:,} {result.noun} are right: too good to be true, more often than not"
    mend = "see that no example is on two sides and nothing gives the label away: railcar data check"
    return Advice(WARNING, what, mend)


def _one_column(result: Result) -> Advice | None:
    drops = [max(one["drop"], 0.0) for one in result.importance]
    if len(drops) < 3 or drops[0] < 0.9 * sum(drops) or result.is_regression:
        return None
    if drops[0] < 0.2:
        return None
    name = result.importance[0]["column"]
    what = f"the column {name} decides nearly alone: without it accuracy falls by {drops[0]:.0%}"
    return Advice(
        WARNING, what, f"see that it is known when a prediction is asked for; else leave it out: data.drop=[{name}]"
    )


def _little_to_test(result: Result) -> Advice | None:
    shown = result.shown
    if result.is_regression:
        if shown["n"] >= 100:
            return None
        return Advice(NOTE, f"{shown['n']} {result.noun} are few to measure by", "a larger data.test, or --folds 5")
    low, high = shown["accuracy_95"]
    if high - low < 0.06:
        return None
    range_ = f"of more, anything from {low:.1%} to {high:.1%} may be right"
    what = f"it was measured on {shown['n']:,} {result.noun} only: {range_}"
    return Advice(NOTE, what, "a larger data.test, or --folds 5, which tests on all of them")


def _unbelievable(result: Result) -> Advice | None:
    shown = result.shown
    if result.is_regression or "temperature" in result.evaluation or shown.get("calibration", {}).get("ece", 0) < 0.03:
        return None
    what = f"its probabilities are off by {shown['calibration']['ece']:.1%} on average"
    return Advice(NOTE, what, "railcar evaluate --calibrate mends that, and changes no answer")


def _doubtful(result: Result) -> Advice | None:
    if not result.n_doubtful:
        return None
    many = f"{result.n_doubtful} labels look" if result.n_doubtful > 1 else "1 label looks"
    return Advice(NOTE, f"{many} wrong", "look at them below; a wrong label in the test data counts as a mistake")


def _worse_for_some(result: Result) -> Advice | None:
    """Of a column that it was measured by, one value is worse than the others together, by more than luck."""
    measure = "mae" if result.is_regression else "accuracy"
    for column, found in (result.shown.get("groups") or {}).items():
        rows = [row for row in found["groups"] if row["is_apart"]]
        if not found["is_real"] or not rows:
            continue
        worst = max(rows, key=lambda row: row[measure] if result.is_regression else -row[measure])
        mean, value = result.shown[measure], worst[measure]
        if (value > mean) == result.is_regression:
            figures = f"{value:.3g} off to {mean:.3g}" if result.is_regression else f"{value:.1%} right of {mean:.1%}"
            what = f"it is worse for {worst['group']} ({column}) than for all: {figures}"
            return Advice(WARNING, what, f"more {result.noun} of it, and say so to those who use the model")
    return None


def _other_data(result: Result) -> Advice | None:
    """Test and validation tell different things."""
    test, held = result.evaluation.get("test"), result.evaluation.get("validation")
    if not test or not held or result.is_regression:
        return None
    apart = test["accuracy_95"][1] < held["accuracy_95"][0] or held["accuracy_95"][1] < test["accuracy_95"][0]
    if not apart or abs(test["accuracy"] - held["accuracy"]) < 0.01:
        return None
    figures = f"{test['accuracy']:.1%} of test, {held['accuracy']:.1%} of validation are right"
    mend = "they may come from other sources or times; data.group keeps on one side what belongs together"
    return Advice(WARNING, f"the test data is not like the validation data: {figures}", mend)


_RULES: tuple[Callable[[Result], Advice | None], ...] = (
    _learnt_nothing,
    _too_good,
    _one_column,
    _learnt_by_heart,
    _too_simple,
    _not_once,
    _still_learning,
    _untested,
    _weak_classes,
    _worse_for_some,
    _other_data,
    _little_to_test,
    _unbelievable,
    _got_worse,
    _doubtful,
)


def _last(series: Sequence[tuple[int, float]]) -> float | None:
    """The mean over the last tenth of the steps."""
    if not series:
        return None
    end = series[-1][0]
    return statistics.fmean(value for step, value in series if step >= 0.9 * end)


def _at_three_fifths(series: Sequence[tuple[int, float]]) -> float:
    """The value from which the last two fifths of the steps go on."""
    return next(value for step, value in series if step >= series[-1][0] * 0.6)


def _round_up(step: int) -> int:
    """To two digits: 1,234 -> 1,300."""
    unit = 10 ** max(len(str(step)) - 2, 0)
    return -(-step // unit) * unit

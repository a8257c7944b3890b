"""Tables of results as plain text, at most 80 columns wide."""

from __future__ import annotations

import textwrap
from typing import Any


def format_evaluation(evaluation: dict[str, Any]) -> str:
    """One line a split, and the classes that are told apart worst."""
    if any("mae" in one for one in evaluation.values() if isinstance(one, dict)):
        return _format_regression(evaluation)
    lines = [f"{'split':<12}{'accuracy':>9}  {'95% interval':<17}{'right':>16}{'loss':>9}"]
    for name in ("test", "validation", "train", "data"):
        if name in evaluation:
            lines.append(_format_split(name, evaluation[name]))
    shown = next((evaluation[name] for name in ("test", "data", "validation") if name in evaluation), None)
    if shown:
        tested = [row for row in shown["per_class"] if row["n"]]
        worst = sorted(tested, key=lambda row: row["f1"])[:3]
        words = ", ".join(f"{cut_name(row['class'], 28)} ({row['f1']:.3f})" for row in worst)
        missing = [row["class"] for row in shown["per_class"] if not row["n"]]
        untested = f"; not tested: {', '.join(cut_name(one, 28) for one in missing[:3])}" if missing else ""
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        told = f"lowest F1: {words}{untested}{more}; checkpoint {evaluation['checkpoint']}"
        lines += textwrap.wrap(told, 80, break_on_hyphens=False)
    return "\n".join(lines)


_MOST_CLASSES, _MUCH_OFF = 20, 0.03


def format_details(evaluation: dict[str, Any]) -> str:
    """What more is known of the first split that there is, test before the others: how well classes are told apart and
    how far the probabilities can be believed, and a line for each class, of many those that are found worst."""
    name = next(name for name in ("test", "data", "validation", "train") if name in evaluation)
    one = evaluation[name]
    if "mae" in one:
        low, quarter, middle, three, high = one["error_quantiles"].values()
        spread = f"half of them from {quarter:+.5g} to {three:+.5g}, nine in ten from {low:+.5g} to {high:+.5g}"
        return textwrap.fill(f"errors of {name}: mean {one['bias']:+.5g}, median {middle:+.5g}, {spread}", 80)
    areas = [("ROC area", one["roc_auc"]), ("precision-recall area", one["average_precision"])]
    figures = [f"balanced accuracy {one['balanced_accuracy']:.2%}", f"macro F1 {one['macro_f1']:.3f}"]
    figures += [f"{what} {value:.4f}" for what, value in areas if value is not None]
    figures += [f"top {k} {value:.2%}" for k, value in one["top_k"].items()]
    figures += [f"calibration error {one['calibration']['ece']:.2%}", f"Brier score {one['brier']:.4f}"]
    if "temperature" in evaluation:
        figures.append(f"temperature {evaluation['temperature']:.3f}")
    text = textwrap.fill(f"{name}: {', '.join(figures)}", 80, break_on_hyphens=False)
    if one["calibration"]["ece"] > _MUCH_OFF and "temperature" not in evaluation:
        text += "\nprobabilities are off by that much; railcar evaluate --calibrate mends them"
    return "\n".join([text, *_format_classes(one["per_class"])])


def cut_name(name: str, width: int) -> str:
    """Cut in the middle: names often differ at their ends. What cannot be printed, as a terminal's commands, is
    blank."""
    name = "".join(letter if letter.isprintable() else " " for letter in name)
    n_end = width // 3
    return name if len(name) <= width else f"{name[: width - n_end - 1]}…{name[-n_end:]}"


def _format_classes(rows: list[dict[str, Any]]) -> list[str]:
    n_all = len(rows)
    rows = [row for row in rows if row["n"]]
    shown = rows if len(rows) <= _MOST_CLASSES else sorted(rows, key=lambda row: row["f1"])[:_MOST_CLASSES]
    width = min(max(len(row["class"]) for row in shown), 30)
    lines = ["", f"{'class':<{width}}  {'precision':>9}{'recall':>9}{'F1':>8}{'ROC area':>10}{'n':>9}"]
    for row in shown:
        area = "" if row["roc_auc"] is None else f"{row['roc_auc']:.4f}"
        figures = f"{row['precision']:>9.3f}{row['recall']:>9.3f}{row['f1']:>8.3f}{area:>10}{row['n']:>9,}"
        lines.append(f"{cut_name(row['class'], width):<{width}}  {figures}")
    if len(rows) > len(shown):
        lines.append(f"and {len(rows) - len(shown):,} more, which are found better")
    if n_all > len(rows):
        lines.append(f"and {n_all - len(rows):,} of which there was none to test by")
    return lines


def _format_regression(evaluation: dict[str, Any]) -> str:
    lines = [f"{'split':<12}{'mean error':>12}{'root of squares':>18}{'R2':>9}{'n':>12}{'loss':>10}"]
    for name in ("test", "validation", "train", "data"):
        if name in evaluation:
            one = evaluation[name]
            figures = f"{one['mae']:>12.5g}{one['rmse']:>18.5g}{one['r2']:>9.4f}{one['n']:>12,}{one['loss']:>10.4f}"
            lines.append(f"{name:<12}{figures}")
    return "\n".join([*lines, f"checkpoint {evaluation['checkpoint']}"])


def _format_split(name: str, values: dict[str, Any]) -> str:
    low, high = values["accuracy_95"]
    right = f"{values['n_right']:,} of {values['n']:,}"
    interval = f"{low:.2%} to {high:.2%}"
    return f"{name:<12}{values['accuracy']:>9.2%}  {interval:<17}{right:>16}{values['loss']:>9.4f}"


def format_folds(found: dict[str, Any]) -> str:
    """One line a fold, and the mean with its standard error. `found` is what `--json` prints."""
    measure = found["measure"]
    is_share = measure == "accuracy"
    lines = [f"{'fold':<6}{measure:>10}{'n':>9}{'loss':>10}  run"]
    for one in found["folds"]:
        test = one["test"]
        value = f"{test[measure]:.2%}" if is_share else f"{test[measure]:.5g}"
        lines.append(f"{one['fold']:<6}{value:>10}{test['n']:>9,}{test['loss']:>10.4f}  {one['run']}")
    mean, error = (f"{one:.2%}" if is_share else f"{one:.5g}" for one in (found["mean"], found["standard_error"]))
    return "\n".join(
        ["", *lines, "", f"mean {measure} {mean}, standard error {error}, over {len(found['folds'])} folds"]
    )


_SHOWN = 5
# Of fewer, what decides cannot be told from chance.
_FEWEST_TRIALS = 10


def format_study(found: dict[str, Any]) -> str:
    """The best trials with their settings, whether they are better than the recipe as it was, and what decides.
    `found` is what `railcar tune --json` prints."""
    trials, measure, best, default = found["trials"], found["measure"], found["best"], found["default"]
    if best is None:
        notes = [one["note"] for one in trials if one["note"]]
        return f"none of {len(trials)} trials went to its end" + (f": {notes[0]}" if notes else "")
    sign = -1 if found["is_higher_better"] else 1
    ended = sorted((one for one in trials if one["state"] == "finished"), key=lambda one: sign * one["value"])
    shown = ended[:_SHOWN]
    if default and all(one["number"] != default["number"] for one in shown):
        shown = [*shown, default]
    lines = ["", f"trial  {measure:<13}settings"]
    for one in shown:
        settings = ", ".join(f"{_last(key)} {format_value(value)}" for key, value in one["settings"].items())
        head = f"{one['number']:>5}  {one['value']:<13.4g}"
        words = settings + (" (as it was)" if one["is_first"] else "")
        lines += textwrap.wrap(words, 80, initial_indent=head, subsequent_indent=" " * 20)
    counts = {state: sum(one["state"] == state for one in trials) for state in ("finished", "pruned", "failed")}
    lines += ["", ", ".join(f"{n} {state}" for state, n in counts.items() if n) + f", of {len(trials)} trials"]
    if found["importances"] and counts["finished"] >= _FEWEST_TRIALS:
        most = list(found["importances"].items())[:4]
        lines.append(f"what decides: {', '.join(f'{_last(key)} {share:.0%}' for key, share in most)}")
    lines += [
        _judge(best, default, measure),
        "",
        f"search  {found['path']}",
        f"next    railcar train {found['recipe']}",
    ]
    return "\n".join(lines)


def _judge(best: dict[str, Any], default: dict[str, Any] | None, measure: str) -> str:
    if default is None:
        return f"the best has {measure} {best['value']:.4g}; the recipe as it was did not go to its end"
    if best["number"] == default["number"]:
        return f"nothing better was found than the recipe as it was ({measure} {best['value']:.4g})"
    return f"the best has {measure} {best['value']:.4g}, the recipe as it was {default['value']:.4g}"


def format_value(value: Any) -> str:
    """A setting, short: numbers to three digits, lists with hyphens."""
    if isinstance(value, list | tuple):
        return "-".join(map(str, value)) or "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _last(key: str) -> str:
    return key.rpartition(".")[2]

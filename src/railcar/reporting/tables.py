"""Tables of results as plain text, at most 80 columns wide."""

from __future__ import annotations

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
        worst = sorted(shown["per_class"], key=lambda row: row["f1"])[:3]
        words = ", ".join(f"{row['class']} ({row['f1']:.3f})" for row in worst)
        lines.append(f"lowest F1: {words}; checkpoint {evaluation['checkpoint']}")
    return "\n".join(lines)


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

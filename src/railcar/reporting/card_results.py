"""How good a model is, as its card shows it: the splits, the weakest classes, the commonest mistakes, the groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from railcar.reporting.card_facts import CardFacts, code, escape, spell_number, table
from railcar.reporting.group_tables import describe_difference
from railcar.reporting.run_facts import SIDES

_WORST = 10
_FIGURES = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "roc_auc": "ROC area",
    "mae": "mean error",
    "rmse": "root of squares",
    "r2": "R2",
    "bias": "bias",
    "loss": "loss",
}
_SHARES = ("balanced_accuracy",)


def render_results(facts: CardFacts) -> str:
    sides = [side for side in SIDES if facts.evaluation.get(side)]
    if not sides:
        return "It has not been measured yet: `railcar evaluate` does."
    first = [] if facts.is_regression else ["accuracy", "95% interval"]
    keys = [key for key in _FIGURES if any(facts.evaluation[side].get(key) is not None for side in sides)]
    rows = []
    for side in sides:
        one = facts.evaluation[side]
        start = [f"{one['accuracy']:.2%}", "{:.2%} to {:.2%}".format(*one["accuracy_95"])] if first else []
        figures = [_spell_figure(key, one.get(key)) for key in keys]
        rows.append([side, f"{one['n']:,}", *start, *figures])
    parts = [table(["split", "n", *first, *(_FIGURES[key] for key in keys)], rows)]
    if not facts.is_regression:
        parts += [_weakest(facts), _confused(facts)]
    for side in sides:
        for column, found in (facts.evaluation[side].get("groups") or {}).items():
            parts.append(_group(side, column, found))
    return "\n\n".join(part for part in parts if part)


def _spell_figure(key: str, value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:.2%}" if key in _SHARES else spell_number(value) if key in ("mae", "rmse", "bias") else f"{value:.4f}"
    )


def _weakest(facts: CardFacts) -> str:
    known = [row for row in facts.shown.get("per_class") or () if row["n"]]
    rows = sorted(known, key=lambda row: row["f1"])[:_WORST]
    if not rows:
        return ""
    title = "Each class" if len(rows) == len(known) else f"The {len(rows)} weakest of {len(known):,} classes"
    cells = [
        [
            str(row["class"]),
            *(f"{row[key]:.1%}" for key in ("precision", "recall")),
            f"{row['f1']:.3f}",
            f"{row['n']:,}",
        ]
        for row in rows
    ]
    head = ["class", "precision", "recall", "F1", f"{facts.side} {facts.noun}"]
    about = "precision: of those called so, how many are; recall: how many are found"
    return f"{title}, the weakest first ({about}):\n\n{table(head, cells)}"


def _confused(facts: CardFacts) -> str:
    """The commonest mistakes, of more than two classes."""
    confusion, names = facts.shown.get("confusion") or [], facts.class_names
    if len(names) < 3 or len(confusion) != len(names):
        return ""
    pairs = [
        (count, names[right], names[said], sum(row))
        for right, row in enumerate(confusion)
        for said, count in enumerate(row)
        if right != said and count
    ]
    pairs = sorted(pairs, key=lambda one: -one[0])[:5]
    if not pairs:
        return ""
    told = [f"{escape(right)} taken for {escape(said)} ({count:,} of {n:,})" for count, right, said, n in pairs]
    return f"Commonest mistakes: {', '.join(told)}."


def _group(side: str, column: str, found: Mapping[str, Any]) -> str:
    if found["difference"]["measure"] == "accuracy":
        head = ["accuracy", "95% interval", "balanced accuracy"]
        rows = [
            [
                f"{row['accuracy']:.2%}",
                "{:.2%} to {:.2%}".format(*row["accuracy_95"]),
                f"{row['balanced_accuracy']:.2%}",
            ]
            for row in found["groups"]
        ]
    else:
        head = ["mean error", "root of squares", "bias"]
        rows = [[spell_number(row[key]) for key in ("mae", "rmse", "bias")] for row in found["groups"]]
    cells = [[row["group"], f"{row['n']:,}", *figures] for row, figures in zip(found["groups"], rows, strict=True)]
    quartiles = ", by its quartiles" if found["form"] == "quartiles" else ""
    said = escape(describe_difference(found))
    shown = table(["group", "n", *head], cells)
    return f"### {side} by {code(column)}{quartiles}\n\n{shown}\n\n{said[:1].upper()}{said[1:]}."

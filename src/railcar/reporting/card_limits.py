"""What a model card says of its model's limits: honest sentences that follow from the figures. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from railcar.reporting.card_facts import CardFacts, code, escape, spell_number

_WIDE = 0.04
_FEW = 20
_WEAK_F1 = 0.1
_OFF = 0.03
_CLEARLY_BIASED = 0.25
_ELSEWHERE = {
    "image": "other cameras, light, places and image qualities",
    "text": "other languages, subjects, writers and times",
    "table": "other places, times and ways of measuring",
}


def list_limits(facts: CardFacts) -> list[str]:
    """A sentence for each, those of this model's figures first."""
    found = [*_of_measuring(facts)]
    if facts.shown:
        found += [*(_of_numbers(facts) if facts.is_regression else _of_classes(facts)), *_of_groups(facts)]
    return [*found, *_of_the_unknown(facts)]


def _of_measuring(facts: CardFacts) -> Iterator[str]:
    shown, many = facts.shown, facts.noun
    if not shown:
        yield "Nothing was measured: how good it is nobody knows."
        return
    if facts.side == "validation":
        yield f"No {many} were held out for a test: the checkpoint was chosen by those measured, which flatters it."
    elif facts.side == "train":
        yield f"The figures are of the {many} that it was trained on, and say little of new ones."
    if facts.is_regression:
        if shown["n"] < 100:
            yield f"It was measured on {shown['n']:,} {many} only."
        return
    low, high = shown["accuracy_95"]
    if high - low > _WIDE:
        yield (
            f"It was measured on {shown['n']:,} {many} only: its accuracy on others like them may well be "
            f"{low:.1%} or {high:.1%}."
        )


def _of_classes(facts: CardFacts) -> Iterator[str]:
    shown, many = facts.shown, facts.noun
    rows = [row for row in shown.get("per_class") or () if row["n"]]
    if not rows:
        return
    most = max(rows, key=lambda row: row["n"])
    share = most["n"] / shown["n"]
    if share > 1.5 / max(len(rows), 1):
        name = escape(str(most["class"]))
        yield f"{share:.1%} of the {facts.side} {many} are {name}: always saying {name} would be right as often."
    usual = sorted(row["f1"] for row in rows)[len(rows) // 2]
    weak = sorted((row for row in rows if row["f1"] < usual - _WEAK_F1), key=lambda row: row["f1"])[:5]
    if weak:
        told = ", ".join(f"{escape(str(row['class']))} (F1 {row['f1']:.2f}, {row['recall']:.0%} found)" for row in weak)
        yield f"Some classes are told apart much worse than the others: {told}."
    few = [row for row in rows if row["n"] < _FEW]
    if few:
        least = min(row["n"] for row in few)
        which = "each class" if len(few) == len(rows) else f"{len(few):,} of {len(rows):,} classes"
        yield f"Of {which} fewer than {_FEW} {many} were tested ({least:,} at the least): their figures are rough."
    absent = [str(row["class"]) for row in shown.get("per_class") or () if not row["n"]]
    if absent:
        more = " and others" if len(absent) > 10 else ""
        yield f"Not tested at all: {', '.join(map(escape, absent[:10]))}{more}."
    yield from _of_probabilities(facts)


def _of_probabilities(facts: CardFacts) -> Iterator[str]:
    off = (facts.shown.get("calibration") or {}).get("ece")
    if off is None:
        return
    if "temperature" in facts.evaluation:
        yield f"Its probabilities were calibrated on the validation side, and are off by {off:.1%} on average."
    elif off > _OFF:
        yield (
            f"Its probabilities are off by {off:.1%} on average, so 90% does not mean nine in ten: "
            f"{code(f'railcar evaluate {facts.reference} --calibrate')} mends most of that."
        )


def _of_numbers(facts: CardFacts) -> Iterator[str]:
    shown = facts.shown
    spread = shown.get("error_quantiles") or {}
    if shown["mae"] is None:
        return
    if spread:
        low, high = spread["0.05"], spread["0.95"]
        yield f"Nine in ten errors are between {spell_number(low)} and {spell_number(high)}; the tenth is larger."
    if shown["mae"] and abs(shown["bias"]) > _CLEARLY_BIASED * shown["mae"]:
        side = "low" if shown["bias"] < 0 else "high"
        yield f"Its estimates are too {side} by {spell_number(abs(shown['bias']))} on average."
    if shown.get("r2") is not None and shown["r2"] < 0.5:
        yield f"It explains {max(shown['r2'], 0.0):.0%} of what makes the numbers differ; the rest it does not know."
    yield "Beyond the range of the numbers that it was trained on it knows nothing, and does not say so."


def _of_groups(facts: CardFacts) -> Iterator[str]:
    groups: dict[str, Any] = facts.shown.get("groups") or {}
    for column, found in groups.items():
        one = found["difference"]
        if found["is_real"]:
            best, worst = (one["high"], one["low"]) if one["measure"] == "accuracy" else (one["low"], one["high"])
            size = f"{100 * one['value']:.1f} points" if one["measure"] == "accuracy" else spell_number(one["value"])
            told = f"worse by {size} for {escape(worst)} than for {escape(best)}"
            yield f"It is not equally good for all: by {code(column)}, {told}."
    even = [code(column) for column, found in groups.items() if not found["is_real"]]
    if even:
        yield f"By {', '.join(even)} no difference was seen beyond luck, which does not prove that there is none."
    if not groups and facts.data.get("form") in ("csv", "jsonl", "parquet", "arrow"):
        yield (
            "Whether it is equally good for all groups was not measured: "
            f"{code(f'railcar evaluate {facts.reference} --by COLUMN')} does."
        )


def _of_the_unknown(facts: CardFacts) -> Iterator[str]:
    one, many = facts.one, facts.noun
    if not facts.is_regression:
        article = "An" if one[0] in "aeiou" else "A"
        yield f"{article} {one} that is of none of its classes gets one of them all the same."
    where = _ELSEWHERE.get(facts.kind, "other sources")
    yield f"All {many} came from one source. Not tested: {where}, and {many} made to mislead it."
    yield "It learnt what its labels say, mistakes and prejudices in them, too."

"""What is wrong with this data? A data set -> findings, each with its level, its words and its mend.

Owns what is looked for and how grave it is. Pure: what was read and split goes in, records come out (`findings.py`).
Repeated examples are `repeats.py`'s, labels in doubt `noise.py`'s, numbers `summary.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.case import MAX_NAMED, Case, NameExample
from railcar.data.decoding import EncodedImages
from railcar.data.findings import Diagnosis, Finding, Suspect, sort_findings
from railcar.data.giveaways import find_giveaways
from railcar.data.noise import (
    MAX_EXAMPLES,
    Verdict,
    describe_images,
    describe_rows,
    judge_labels,
    judge_targets,
    judge_texts,
)
from railcar.data.repeats import check_repeats
from railcar.data.summary import Summary, measure_pixels, pool_frames, summarize
from railcar.data.types import Dataset
from railcar.errors import RailcarError
from railcar.storage.columns import Column

MAX_SUSPECTS = 50
# Of the largest class to the smallest: where accuracy begins to say little, and where it says nothing.
UNEVEN, VERY_UNEVEN = 3.0, 10.0
FEW_IN_CLASS = 10
FEW_HELD_OUT = 100
MANY_MISSING = 0.5
MANY_ALIKE = 0.99
MANY_VALUES = 1000
LONG_TEXT_WORDS = 512
MANY_WRONG = 0.01

# What reading has to say already and what deserves more than to be told: (part of the line, code, mend).
_REMARKABLE = (
    ("skipped ", "bad_files", "mend or remove them; more than data.max_bad of all would be refused"),
    ("differ in upper and lower case only", "class_names", "merge the two folders if they mean the same class"),
    ("beside the class folders", "stray_files", "move them into the folder of their class, or away"),
    ("tiny or very narrow", "odd_sizes", "look at them: they may be icons or cut off"),
)
# What the doctor says itself, with more about it.
_SAID_BETTER = ("may give the label away", "the same image is in", "the same text is in", "the same row is in")
_SAID_BETTER += (
    "there under two labels",
    "nearly like one in",
)


def examine(
    dataset: Dataset,
    *,
    name_example: NameExample | None = None,
    allow_leakage: bool = False,
    refusals: Sequence[RailcarError] = (),
    sizes: NDArray[np.int64] | None = None,
    bad_files: Mapping[str, str] | None = None,
) -> Diagnosis:
    """Look at all of `dataset`, as `open_dataset` gives it. `name_example` says where an example is, `sizes` int64
    [n, 2] are heights and widths of the image files, `bad_files` those that were skipped, with reasons (the notes of
    `dataset` name the first few only). `refusals` are what training says of the data and what was passed
    over to get this far. Takes seconds; imports no TensorFlow."""
    case = Case(dataset, name_example)
    kind = dataset.features.kind
    pixels = measure_pixels(dataset) if kind == "image" else None
    summary = summarize(dataset, pixels, sizes)
    suspects, doubts = _doubt_labels(case)
    told = (*_SAID_BETTER, *(part for part, _, _ in _REMARKABLE))
    findings = [
        *(refuse(error) for error in refusals),
        *_tell_remarkable(dataset.notes, bad_files or {}),
        *check_repeats(case, allow_leakage=allow_leakage),
        *_check_classes(case, summary),
        *(_check_blank(case, np.concatenate(list(pixels.blank.values()))) if pixels else []),
        *(_check_texts(case) if kind == "text" else []),
        *(_check_columns(case, summary) if kind == "table" else []),
        *doubts,
        *_check_held_out(case, summary),
    ]
    return Diagnosis(
        dataset.source,
        dataset.form,
        kind,
        dataset.features.task,
        dataset.label,
        dataset.features.class_names,
        tuple(line for line in dataset.notes if not any(part in line for part in told)),
        summary,
        sort_findings(findings),
        suspects,
    )


def refuse(error: RailcarError) -> Finding:
    """The finding of data that training refuses, in its words."""
    return Finding("error", "refused", error.what, error.hint)


def _tell_remarkable(notes: Sequence[str], bad_files: Mapping[str, str]) -> list[Finding]:
    findings = [
        Finding("warning", code, line, hint) for line in notes for part, code, hint in _REMARKABLE if part in line
    ]
    details = tuple(f"{name}: {reason}" for name, reason in bad_files.items())
    return [
        replace(one, n=len(details), details=details) if one.code == "bad_files" and details else one
        for one in findings
    ]


def _check_classes(case: Case, summary: Summary) -> list[Finding]:
    names = case.dataset.features.class_names
    if not names:
        return []
    counts = np.array(summary.per_class["train"])
    order = np.argsort(counts, kind="stable")
    least, most = int(order[0]), int(order[-1])
    ratio = counts[most] / max(counts[least], 1)
    findings = []
    if ratio >= UNEVEN:
        smallest = ", ".join(f"{names[k]!r} ({counts[k]:,})" for k in order[:MAX_NAMED] if counts[k] < counts[most])
        what = f"the classes are uneven: {names[most]!r} has {counts[most]:,} training examples, {ratio:.1f} times as "
        what += f"many as {names[least]!r}" + (f"; the smallest: {smallest}" if len(names) > 2 else "")
        share = counts[most] / counts.sum()
        hint = f"always saying {names[most]!r} is right {share:.0%} of the time: read the F1 of each class, not the "
        hint += "accuracy, and collect more of the small ones"
        findings.append(Finding("warning" if ratio >= VERY_UNEVEN else "note", "imbalance", what, hint))
    few = [k for k in order if counts[k] < FEW_IN_CLASS]
    if few:
        named = ", ".join(f"{names[k]!r} ({counts[k]})" for k in few[:MAX_NAMED]) + (", …" if len(few) > 3 else "")
        what = f"{_count(len(few), 'class has', 'classes have')} fewer than {FEW_IN_CLASS} training examples: {named}"
        findings.append(Finding("warning", "few_examples", what, "add examples, or merge rare classes", len(few)))
    return findings + _check_absent(case, summary)


def _check_absent(case: Case, summary: Summary) -> list[Finding]:
    names = case.dataset.features.class_names
    findings = []
    for side, counts in summary.per_class.items():
        absent = [names[k] for k, n in enumerate(counts) if n == 0]
        if not absent or side == "train":
            continue
        shown = ", ".join(map(repr, absent[:MAX_NAMED])) + (", …" if len(absent) > MAX_NAMED else "")
        what = f"{side} has no example of {_count(len(absent), 'class', 'classes')}: {shown}"
        hint = f"how well {'it is' if len(absent) == 1 else 'they are'} told is not measured; hold out more"
        findings.append(Finding("note", "absent_classes", what, hint, len(absent)))
    return findings


def _check_held_out(case: Case, summary: Summary) -> list[Finding]:
    """How far chance alone moves what is measured on few examples."""
    n = summary.n_examples.get("test", summary.n_examples.get("validation", 0))
    side = "test" if "test" in summary.n_examples else "validation"
    if n == 0:
        what = "nothing is held out to measure on"
        return [Finding("warning", "nothing_held_out", what, "set data.test to a share such as 0.1")]
    if n >= FEW_HELD_OUT or not case.dataset.features.class_names:
        return []
    points = 100 * 1.96 * np.sqrt(0.9 * 0.1 / n)
    what = f"{side} has {case.count(n)} only: an accuracy of 90% measured on them may be {points:.0f} points off by "
    what += "chance"
    return [Finding("note", "few_held_out", what, f"measure on more: raise data.{side}, or add examples to that side")]


def _check_blank(case: Case, blank: NDArray[np.bool_]) -> list[Finding]:
    numbers = np.flatnonzero(blank)
    if not len(numbers):
        return []
    what = f"{case.count(len(numbers))} {'is' if len(numbers) == 1 else 'are'} of one colour all over: "
    what += case.name_some(numbers)
    hint = "remove them, unless they stand for something"
    return [Finding("warning", "blank_images", what, hint, len(numbers), case.examples(numbers))]


def _check_texts(case: Case) -> list[Finding]:
    texts = pool_frames(case.dataset)["text"]
    empty = np.flatnonzero((texts.str.count_matches(r"[\pL\pN]") == 0).to_numpy())
    long = np.flatnonzero((texts.str.count_matches(r"\S+") > LONG_TEXT_WORDS).to_numpy())
    findings = []
    if len(empty):
        what = f"{case.count(len(empty))} {'has' if len(empty) == 1 else 'have'} no words: {case.name_some(empty)}"
        hint = "remove them: there is nothing to learn from"
        findings.append(Finding("warning", "empty_texts", what, hint, len(empty), case.examples(empty)))
    if len(long):
        what = f"{case.count(len(long))} {'has' if len(long) == 1 else 'have'} more than {LONG_TEXT_WORDS} words"
        what += f", of which the rest is cut off: {case.name_some(long)}"
        hint = "nothing to do where the beginning says enough; else split them"
        findings.append(Finding("note", "long_texts", what, hint, len(long), case.examples(long)))
    return findings


def _check_columns(case: Case, summary: Summary) -> list[Finding]:
    frame = pool_frames(case.dataset)
    columns = _list_columns(case.dataset)
    n = frame.height
    giveaways = dict(find_giveaways(frame, _name_labels(case), columns))
    findings = [_tell_giveaway(name, reason) for name, reason in giveaways.items()]
    for one in summary.columns:
        if one.missing > MANY_MISSING and one.name not in giveaways:
            what = f"the column {one.name!r} is empty in {one.n_missing:,} of {n:,} rows ({one.missing:.0%})"
            hint = "fill it in if the values are known, or leave it out with data.drop"
            findings.append(Finding("warning", "missing_values", what, hint, one.n_missing))
        if one.frequent and one.frequent[0][1] >= MANY_ALIKE * n and one.n_distinct > 1:
            what = f"the column {one.name!r} is {one.frequent[0][0]!r} in {one.frequent[0][1]:,} of {n:,} rows"
            findings.append(Finding("note", "nearly_constant", what, "it can tell little: data.drop leaves it out"))
        if one.type == "category" and one.n_distinct > MANY_VALUES:
            what = f"the column {one.name!r} has {one.n_distinct:,} different words"
            hint = f"the most frequent {MANY_VALUES:,} are learnt, the others count as unknown"
            findings.append(Finding("note", "many_values", what, hint))
    return findings


def _tell_giveaway(name: str, reason: str) -> Finding:
    what = f"the column {name!r} may give the label away: {reason}"
    hint = f"if it is not known yet when the model is asked, leave it out: --set 'data.drop=[{name}]'"
    return Finding("warning", "giveaway", what, hint)


def _list_columns(dataset: Dataset) -> list[Column]:
    return [Column(one["name"], one["type"], "", one["form"]) for one in (dataset.features.encoding or {})["columns"]]


def _name_labels(case: Case) -> Any:
    """The labels as a Series: class names, or targets."""
    import polars as pl

    names = case.dataset.features.class_names
    return pl.Series("label", [names[k] for k in case.labels.tolist()] if names else case.labels)


def _doubt_labels(case: Case) -> tuple[tuple[Suspect, ...], list[Finding]]:
    """Of large data, a part is judged."""
    n = len(case.labels)
    chosen = np.arange(n)
    if n > MAX_EXAMPLES:
        chosen = np.sort(np.random.default_rng(0).choice(n, MAX_EXAMPLES, replace=False))
    verdict = _judge(case, chosen)
    if verdict.reason:
        return (), [Finding("note", "labels_not_judged", f"labels were not judged: {verdict.reason}")]
    if not (n_found := len(verdict.rows)):
        return (), []
    suspects = tuple(
        _suspect(case, verdict, k, int(chosen[verdict.rows[k]])) for k in range(min(n_found, MAX_SUSPECTS))
    )
    first = suspects[0]
    of_all = f" of {len(chosen):,} that were judged" if len(chosen) < n else ""
    what = f"{n_found:,} {'label looks' if n_found == 1 else 'labels look'} wrong{of_all}, as that of "
    what += f"{first.example.name}: it is {first.label!r}, and a simple model says {first.suggested!r}"
    by = f", of a model that is right on {verdict.score:.0%}" if case.dataset.features.class_names else ""
    hint = f"candidates only{by}: look at them and correct what is wrong"
    examples = tuple(one.example for one in suspects)
    is_grave = n_found >= MANY_WRONG * len(chosen)
    return suspects, [Finding("warning" if is_grave else "note", "label_noise", what, hint, n_found, examples)]


def _suspect(case: Case, verdict: Verdict, k: int, number: int) -> Suspect:
    names, said = case.dataset.features.class_names, float(verdict.suggested[k])
    if not names:
        return Suspect(case.example(number), f"{case.labels[number]:.6g}", f"{said:.6g}", None)
    confidence = round(float(verdict.confidence[k]), 4)
    return Suspect(case.example(number), case.name_class(number), names[int(said)], confidence)


def _judge(case: Case, chosen: NDArray[np.int64]) -> Verdict:
    dataset, hashes, labels = case.dataset, case.hashes[chosen], case.labels[chosen]
    if dataset.features.kind == "text":
        return judge_texts(pool_frames(dataset)["text"][chosen].to_list(), labels, hashes)
    judge = judge_labels if dataset.features.class_names else judge_targets
    return judge(_describe_chosen(case, chosen), labels, hashes)


def _describe_chosen(case: Case, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    if case.dataset.features.kind == "table":
        return describe_rows(pool_frames(case.dataset)[chosen], _list_columns(case.dataset))
    parts = []
    for name, split in case.dataset.splits.items():
        start = case.starts[name]
        rows = chosen[(chosen >= start) & (chosen < start + len(split))] - start
        parts.append(_describe_images(split.inputs, split.rows[rows]))
    return np.concatenate(parts)


def _describe_images(images: NDArray[Any] | EncodedImages, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """`describe_images` of some rows, a few at a time: all of them may be more than fits into memory."""
    step = max(1, (1 << 26) // max(1, int(np.prod(images.shape[1:]))))
    blocks = [describe_images(np.asarray(images[rows[i : i + step]])) for i in range(0, max(len(rows), 1), step)]
    return np.concatenate(blocks)


def _count(n: int, one: str, several: str) -> str:
    return f"1 {one}" if n == 1 else f"{n:,} {several}"

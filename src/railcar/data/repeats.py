"""Examples that occur more than once: on two sides, on one, nearly, or under two labels. Each becomes a finding.

Owns what is said of them and how grave it is. How equal and nearly equal images are found is `duplicates.py`'s.
"""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from railcar.data.case import Case
from railcar.data.duplicates import Images, find_conflicts, find_exact, find_near
from railcar.data.findings import Finding, Level
from railcar.data.near_pairs import find_near_once, find_side_file

MAX_NEAR_IMAGES = 200_000
MIN_CONFLICT_SHARE = 0.05
MANY_COPIES = 0.01


def check_repeats(case: Case, *, allow_leakage: bool) -> list[Finding]:
    """What is found of the examples of all sides. An image on two sides is an error unless `allow_leakage`: training
    refuses it. Texts and rows may be alike by chance."""
    findings = _check_sides(case, allow_leakage=allow_leakage)
    findings += _check_near(case)
    findings += _check_conflicts(case)
    return findings + _check_within(case)


def _check_sides(case: Case, *, allow_leakage: bool) -> list[Finding]:
    findings = []
    sides = list(case.dataset.splits)
    for first, second in combinations(range(len(sides)), 2):
        here, there = (np.flatnonzero(case.side_of == number) for number in (first, second))
        pairs = find_exact(case.hashes[here], case.hashes[there])
        if not len(pairs):
            continue
        pairs = np.stack([here[pairs[:, 0]], there[pairs[:, 1]]], axis=1)
        n = len(pairs)
        known = f"{case.count(n)} of {sides[second]} {'is' if n == 1 else 'are'} in {sides[first]}, too"
        level: Level = "error" if case.dataset.features.kind == "image" and not allow_leakage else "warning"
        hint = f"remove {'it' if n == 1 else 'them'} from one side: what is measured on {sides[second]} is too good"
        if level == "error":
            hint += "; or set data.allow_leakage to true"
        findings.append(
            Finding(level, "leakage", f"{known}: {_name_pairs(case, pairs)}", hint, n, case.examples(pairs.ravel()))
        )
    return findings


def _check_near(case: Case) -> list[Finding]:
    """Across sides only: on one side they do no harm that could be told here."""
    kind = case.dataset.features.kind
    if kind == "table" or len(case.dataset.splits) < 2:
        return []
    if kind == "image" and len(case.labels) > MAX_NEAR_IMAGES:
        what = f"near duplicates were not looked for: {len(case.labels):,} images are more than {MAX_NEAR_IMAGES:,}"
        return [Finding("note", "not_checked", what)]
    pairs = _find_near_images(case) if kind == "image" else _find_near_texts(case)
    differs = case.hashes[pairs[:, 0]] != case.hashes[pairs[:, 1]]
    pairs = pairs[differs & (case.side_of[pairs[:, 0]] != case.side_of[pairs[:, 1]])]
    if not len(pairs):
        return []
    later = np.unique(pairs[:, 1])
    what = f"{case.count(len(later))} held out {'is' if len(later) == 1 else 'are'} nearly the same as one"
    what += f" of another side: {_name_pairs(case, pairs)}"
    hint = "keep what was taken together (a burst, a video, copies) on one side: else what is measured is too good"
    return [Finding("warning", "near_duplicates", what, hint, len(later), case.examples(pairs.ravel()))]


def _find_near_images(case: Case) -> NDArray[np.int64]:
    """int64 [k, 2], numbers of examples, the lower first. Splits of one array are compared in one go, and what it has
    beside them is passed over: nothing is copied."""
    splits = case.dataset.splits
    arrays = {id(split.inputs): split.inputs for split in splits.values()}
    numbers = {key: np.full(len(array), -1, np.int64) for key, array in arrays.items()}
    for name, split in splits.items():
        numbers[id(split.inputs)][split.rows] = case.starts[name] + np.arange(len(split))
    found = []
    for first, second in [(key, key) for key in arrays] + list(combinations(arrays, 2)):
        pairs = _find_near_of_two(arrays[first], arrays[second])
        found.append(np.stack([numbers[first][pairs[:, 0]], numbers[second][pairs[:, 1]]], axis=1))
    pairs = np.concatenate(found)
    return np.sort(pairs[(pairs >= 0).all(axis=1)], axis=1)


def _find_near_of_two(images: Images, others: Images) -> NDArray[np.int64]:
    """Of two arrays, or of one that is given twice; kept where both are sides of one prepared source."""
    here, there = find_side_file(images), find_side_file(others)
    others_or_none = None if others is images else others
    if here is None or there is None or here[0] != there[0]:
        return find_near(images, others_or_none)
    return find_near_once(here[0], (here[1], there[1]), images, others_or_none)


def _find_near_texts(case: Case) -> NDArray[np.int64]:
    """The same of texts that differ in upper and lower case, spaces and punctuation only."""
    from railcar.data.summary import pool_frames

    texts = pool_frames(case.dataset)["text"].str.to_lowercase().str.replace_all(r"[^\pL\pN]+", " ").str.strip_chars()
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts.to_list())
    hashes = np.frombuffer(digests, "<u8").astype(np.uint64)
    pairs = find_exact(hashes)
    return pairs[(texts.str.len_chars() > 0).to_numpy()[pairs[:, 1]]]


def _check_conflicts(case: Case) -> list[Finding]:
    if not case.dataset.features.class_names:
        return []
    groups = find_conflicts(case.hashes, case.labels.astype(np.int32))
    if not groups:
        return []
    n, n_examples = len(groups), sum(map(len, groups))
    one = groups[0]
    other = next(number for number in one if case.labels[number] != case.labels[one[0]])
    named = " and ".join(f"{case.example(int(at)).name} ({case.name_class(int(at))})" for at in (one[0], other))
    kind = case.dataset.features.kind
    is_usual = kind == "table" and n_examples < MIN_CONFLICT_SHARE * len(case.labels)
    what = f"{case.count(n)} {'stands' if n == 1 else 'stand'} under two labels: {named}"
    hint = "correct the labels, or remove those that nobody can tell apart"
    if kind == "table":
        hint = "correct the labels; or add a column that tells such rows apart"
    level: Level = "note" if is_usual else "warning"
    return [Finding(level, "conflicting_labels", what, hint, n, case.examples(np.concatenate(groups)))]


def _check_within(case: Case) -> list[Finding]:
    """Copies on one side, all sides together."""
    found, told = [], []
    for number, side in enumerate(case.dataset.splits):
        rows = np.flatnonzero(case.side_of == number)
        pairs = rows[find_exact(case.hashes[rows])]
        # Those under two labels are told already.
        pairs = pairs[case.labels[pairs[:, 0]] == case.labels[pairs[:, 1]]]
        found.append(pairs)
        told += [f"{len(pairs):,} of {side}"] if len(pairs) else []
    pairs = np.concatenate(found)
    n = len(pairs)
    if not n:
        return []
    verb = "is a copy of another" if n == 1 else "are copies of others"
    what = f"{case.count(n)} {verb} on the same side ({', '.join(told)}): {_name_pairs(case, pairs)}"
    is_grave = n >= MANY_COPIES * len(case.labels) and case.dataset.features.kind != "table"
    hint = "copies count twice: remove them, or set data.duplicates to drop"
    return [Finding("warning" if is_grave else "note", "duplicates", what, hint, n, case.examples(pairs.ravel()))]


def _name_pairs(case: Case, pairs: NDArray[np.int64]) -> str:
    first, second = (case.example(int(number)).name for number in pairs[0])
    more = ", …" if len(pairs) > 1 else ""
    return f"{first} and {second}{more}"

"""`runs compare`: what differs between runs, what came of each, and whether the difference is more than luck; and the
page of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from railcar.errors import RunError
from railcar.runs.index import compare_runs, explain_content, read_evaluation, read_recipe
from railcar.runs.run_dir import RunDir
from railcar.storage.local import write_atomic

# Of more runs, each is compared with the best one only.
_MOST_IN_PAIRS = 4
_FEWEST = 20


def compare(runs: Sequence[RunDir]) -> dict[str, Any]:
    """What `runs.index.compare_runs` says, and `pairs`: of two runs each (`one` and `other`, places in `runs`) how many
    of the same test examples only one or the other got right (`test` is mcnemar; of a regression: came nearer to,
    sign), `p`, corrected for the number of pairs there are, and `is_real`, whether that is below 5%; or `reason`, why
    they cannot be compared. Of many runs only pairs with the best one are in it, and the correction is for all: that it
    is the best was found by comparing."""
    answers = [_read_answers(run) for run in runs]
    pairs = [_compare_pair(answers, one, other) for one, other in _choose_pairs(answers)]
    tested = [pair for pair in pairs if "p" in pair]
    if tested:
        from railcar.evaluation.significance import LEVEL, correct_for_many

        n_others = len(tested)  # each with the best one, and they among themselves
        unseen = [1.0] * (n_others * (n_others - 1) // 2) if len(runs) > _MOST_IN_PAIRS else []
        corrected = correct_for_many([*(pair["p"] for pair in tested), *unseen])
        for pair, p in zip(tested, corrected, strict=False):
            pair |= {"p": p, "is_real": p < LEVEL}
    return {**compare_runs(runs), "pairs": pairs}


def write_page(runs: Sequence[RunDir], comparison: dict[str, Any], path: Path) -> None:
    """Write `comparison`, what `compare` says of `runs`, with their curves and classes, as one page that opens
    without a network. Raises `OutputError` where it cannot be written, `RunError` for a damaged run."""
    from railcar.reporting.compare_page import Compared, render_comparison

    compared = []
    for run in runs:
        with explain_content(run):
            facts = run.read_manifest(), read_recipe(run), read_evaluation(run), run.read_metrics()
            compared.append(Compared(run.name, *facts))
    try:
        page = render_comparison(compared, comparison)
    except (TypeError, LookupError, AttributeError, ValueError, ArithmeticError) as error:
        what = f"{', '.join(run.name for run in runs)}: one of them holds other things than a run's"
        raise RunError(what, hint="see which with: railcar report RUN") from error
    write_atomic(path, page.encode(errors="replace"))


def _read_answers(run: RunDir) -> Any:
    """A frame of `id`, `label` and `error` (0 where right, 1 where wrong; of a regression its size) and the data's
    fingerprint; None where there is none to read."""
    import polars as pl

    if not run.predictions_path.is_file():
        return None
    try:
        frame = pl.read_parquet(run.predictions_path, columns=["id", "label", "predicted"])
        is_number = frame["label"].dtype.is_numeric()
        error = (pl.col("predicted") - pl.col("label")).abs() if is_number else pl.col("predicted") != pl.col("label")
        found = frame.select("id", "label", error.cast(pl.Float64).alias("error"))
        return found, str((run.read_manifest().get("data") or {}).get("fingerprint")), is_number
    except (pl.exceptions.PolarsError, OSError, AttributeError):
        return None


def _choose_pairs(answers: Sequence[Any]) -> list[tuple[int, int]]:
    if len(answers) <= _MOST_IN_PAIRS:
        return list(itertools.combinations(range(len(answers)), 2))
    there = [at for at, one in enumerate(answers) if one is not None]
    if not there:
        return []
    best = min(there, key=lambda at: answers[at][0]["error"].mean())
    return [(best, at) for at in range(len(answers)) if at != best]


def _compare_pair(answers: Sequence[Any], one: int, other: int) -> dict[str, Any]:
    from railcar.evaluation.significance import compare_answers, compare_errors

    pair: dict[str, Any] = {"one": one, "other": other}
    first, second = answers[one], answers[other]
    if first is None or second is None:
        return {**pair, "reason": "there is no predictions.parquet of both"}
    if first[1:] != second[1:]:
        return {**pair, "reason": "they were tested on other data"}
    both = first[0].join(second[0], on="id", suffix="_other")
    both = both.filter(both["label"] == both["label_other"])
    if len(both) < _FEWEST:
        return {**pair, "reason": f"only {len(both)} test examples are the same"}
    errors = [both[name].to_numpy() for name in ("error", "error_other")]
    if first[2]:
        return {**pair, "test": "sign", **compare_errors(*errors)}
    return {**pair, "test": "mcnemar", **compare_answers(*(error == 0 for error in errors))}

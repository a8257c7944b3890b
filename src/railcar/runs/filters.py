"""Which runs of a listing are shown, and in which order: by state, name, recipe and results.

    --where model.name=cnn    --where 'test.accuracy>0.97'    --where 'data.source=*penguins*'

Owns the form of a condition and the names that it can use. Recipes are read only where a condition needs them.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from railcar.errors import NotFound, RailcarError, UsageError
from railcar.runs.glimpse import is_number
from railcar.runs.index import RunSummary, age_key, flatten, read_evaluation, read_recipe
from railcar.runs.run_dir import RunDir
from railcar.runs.searches import read_search_recipe
from railcar.storage.address import Address, parse
from railcar.storage.local import write_atomic

SORTS = ("age", "name", "val", "test", "took", "steps")
_N_PARALLEL = 16
_NUMBERS = ("accuracy", "mae", "loss")


@dataclass(frozen=True)
class Condition:
    """`key` is a key of the recipe, or of the results; `operator` one of = != < <= > >=."""

    key: str
    operator: str
    value: str

    def fits(self, facts: Mapping[str, Any]) -> bool:
        """Whether a run is so. One that has no such key is not, but for `!=`."""
        fact = facts.get(self.key)
        if fact is None:
            return self.operator == "!="
        number = _to_number(self.value)
        if is_number(fact) and number is not None:
            return _compare(float(fact), self.operator, number)
        is_same = _is_like(_to_text(fact), self.value)
        return {"=": is_same, "!=": not is_same}.get(self.operator, False)


def parse_condition(text: str) -> Condition:
    """KEY=VALUE, KEY!=VALUE, KEY>VALUE, KEY>=VALUE, KEY<VALUE or KEY<=VALUE. Raises `UsageError`."""
    found = re.fullmatch(r"\s*([\w.-]+)\s*(!=|>=|<=|=|>|<)\s*(.+?)\s*", text)
    hint = "for example --where model.name=cnn or --where 'test.accuracy>0.97'"
    if found is None:
        raise UsageError(f"--where: {text!r} is no condition", hint=hint)
    condition = Condition(*found.groups())
    if condition.operator not in ("=", "!=") and _to_number(condition.value) is None:
        raise UsageError(f"--where: {condition.value!r} is no number", hint=hint)
    return condition


def select(
    summaries: Sequence[RunSummary],
    *,
    states: Sequence[str] = (),
    name: str | None = None,
    conditions: Sequence[Condition] = (),
) -> list[RunSummary]:
    """Those in one of the states, whose name has `name` in it (or fits it, where it has * or ?), and that are as all
    conditions say. Raises `UsageError` for a key that none of the runs has."""
    kept = [one for one in summaries if (not states or one.state in states) and (not name or _fits(one.name, name))]
    if not conditions or not kept:
        return kept
    with ThreadPoolExecutor(_N_PARALLEL, thread_name_prefix="railcar-where") as pool:
        is_remote = any(isinstance(one.path, str) for one in kept)
        facts = list((pool.map if is_remote else map)(read_facts, kept))
    known = {key for one in facts for key in one}
    for condition in conditions:
        if condition.key not in known:
            close = get_close_matches(condition.key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "keys are those of recipe.yaml, and val.*, test.*"
            raise UsageError(f"--where: none of the runs has {condition.key}", hint=hint)
    fitting = zip(kept, facts, strict=True)
    return [one for one, known_of in fitting if all(condition.fits(known_of) for condition in conditions)]


def sort_runs(summaries: Sequence[RunSummary], by: str, *, is_reverse: bool = False) -> list[RunSummary]:
    """In ascending order; by results the best last, those that have none first."""
    keys = {
        "age": age_key,
        "name": lambda one: one.name,
        "val": lambda one: _rank(one.val_accuracy, one.val_mae, one.val_loss),
        "test": lambda one: _rank(one.test_accuracy, one.test_mae, one.test_loss),
        "took": lambda one: one.took_s or 0.0,
        "steps": lambda one: one.step or 0,
    }
    return sorted(summaries, key=keys[by], reverse=is_reverse)


def read_facts(summary: RunSummary) -> dict[str, Any]:
    """What conditions can be about: the recipe's keys, `test.*` and `validation.*` as evaluation.json has them, `val.*`
    as the listing has them, and name, state, step, steps and took (in
    seconds)."""
    if isinstance(summary.path, str):
        facts = _read_there(parse(summary.path))
    elif summary.kind == "search":
        facts = read_search_recipe(summary.path)
    else:
        facts = _read_run(RunDir(summary.path))
    for side in ("val", "test"):
        seen = {f"{side}.{name}": getattr(summary, f"{side}_{name}") for name in _NUMBERS}
        facts |= {key: value for key, value in seen.items() if value is not None}
    own = {"state": summary.state, "step": summary.step, "steps": summary.steps, "took": summary.took_s}
    return facts | {"name": summary.name, **{key: value for key, value in own.items() if value is not None}}


def _read_run(run: RunDir) -> dict[str, Any]:
    """A damaged run has no facts: it is listed, and hides no other."""
    facts: dict[str, Any] = {}
    for read in (read_recipe, read_evaluation):
        try:
            facts |= flatten(read(run))
        except (RailcarError, OSError):
            continue
    return facts


def _read_there(address: Address) -> dict[str, Any]:
    from railcar.storage import remote

    with tempfile.TemporaryDirectory(prefix="railcar-where-") as folder:
        for name in ("recipe.yaml", "evaluation.json"):
            try:
                write_atomic(Path(folder) / name, remote.read(address / name))
            except NotFound:
                continue
        return _read_run(RunDir(folder))


def _rank(accuracy: float | None, mae: float | None, loss: float | None) -> tuple[int, float]:
    """Runs of one measure side by side, the best of each last."""
    if accuracy is not None:
        return 3, accuracy
    if mae is not None:
        return 2, -mae
    return (1, -loss) if loss is not None else (0, 0.0)


def _fits(name: str, wanted: str) -> bool:
    return fnmatchcase(name, wanted) if re.search(r"[*?[]", wanted) else wanted in name


def _compare(one: float, operator: str, other: float) -> bool:
    if operator in ("=", "!="):
        return (abs(one - other) <= 1e-9 * max(abs(one), abs(other))) == (operator == "=")
    return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[operator]


def _to_number(text: str) -> float | None:
    """0.97, 1e-3, or 97%."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _to_text(value: Any) -> str:
    """As it is written on a command line: true, [16,32]."""
    if isinstance(value, bool):
        return str(value).lower()
    return "[" + ",".join(map(_to_text, value)) + "]" if isinstance(value, list) else str(value)


def _is_like(text: str, wanted: str) -> bool:
    # a bracket is one of a list here
    return text == wanted.replace(", ", ",") or fnmatchcase(text, wanted.replace("[", "[[]"))

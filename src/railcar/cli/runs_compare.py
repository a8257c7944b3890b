"""`railcar runs compare`: parse and print. What differs is `workflows/compare.py`'s to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option
from railcar.cli.report import open_page
from railcar.cli.text import format_duration, format_table, share_text, value_text
from railcar.errors import UsageError
from railcar.runs.place import open_run

_WIDTH, _LEAST = 80, 12


@click.command("compare")
@click.argument("wanted", metavar="RUN RUN...", nargs=-1, required=True)
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it as one page, too, with curves and classes.",
)
@click.option("--open", "opens", is_flag=True, help="Open that page in the browser; compare.html without --html.")
@runs_dir_option
@common_options(json=True)
def command(wanted: tuple[str, ...], page: Path | None, opens: bool, runs_dir: Path | str, console: Console) -> None:
    """Runs side by side: the recipe's keys that differ, the metrics of all, and, where they were tested on the same
    examples, whether one is better or only luckier."""
    if len(wanted) < 2:
        raise UsageError("one run cannot be compared", hint="name two or more: railcar runs compare RUN RUN")
    from railcar.workflows.compare import compare, write_page

    runs = [open_run(name, runs_dir) for name in wanted]
    comparison = compare(runs)
    page = Path("compare.html") if opens and page is None else page
    if page is not None:
        write_page(runs, comparison, page)
    if console.json:
        console.json_result(comparison if page is None else {**comparison, "page": str(page)})
    else:
        console.result(_describe(comparison, page))
    if page is not None and opens:
        open_page(page, console)


def _describe(comparison: dict[str, Any], page: Path | None) -> str:
    """As text: names, the recipe's keys, metrics, and whether a difference is more than luck."""
    from railcar.reporting.compare_page import name_letters

    letters = name_letters(len(comparison["runs"]))
    names = "\n".join(f"{letter}  {name}" for letter, name in zip(letters, comparison["runs"], strict=True))
    rows = [["Recipe", *letters]]
    room = _find_room(comparison["recipe"], len(letters))
    rows += [
        [key, *(_cut(value_text(value), room) for value in values)] for key, values in comparison["recipe"].items()
    ]
    if len(rows) == 1:
        rows.append(["(no key differs)", *("" for _ in letters)])
    rows.append(["", *("" for _ in letters)])
    rows.append(["Metrics", *letters])
    rows += [
        [key, *(_metric_text(key, value) for value in values)]
        for key, values in comparison["metrics"].items()
        if any(value is not None for value in values)
    ]
    told = _pair_lines(comparison["pairs"], letters)
    written = ["", f"page  {page}"] if page is not None else []
    return "\n".join([names, "", format_table(rows), *told, *written])


def _find_room(recipe: Mapping[str, Any], n_runs: int) -> int:
    """Characters for a value, so that lines stay within 80 columns where there are not too many runs."""
    widest = max(map(len, recipe), default=0)
    return max(_LEAST, (_WIDTH - widest) // n_runs - 2)


def _cut(text: str, width: int) -> str:
    """Of a path the end tells most, of all else the beginning."""
    if len(text) <= width:
        return text
    if "/" in text:
        name = text.rpartition("/")[2]
        return name if len(name) <= width else f"…{name[1 - width :]}"
    return f"{text[: width - 1]}…"


def _pair_lines(pairs: Sequence[dict[str, Any]], letters: Sequence[str]) -> list[str]:
    """Whether a difference is more than luck."""
    rows, is_sign = [], False
    for pair in pairs:
        if "p" not in pair:
            continue
        is_sign = pair["test"] == "sign"
        one, other = letters[pair["one"]], letters[pair["other"]]
        better = one if pair["n_only_one"] > pair["n_only_other"] else other
        counts = f"{pair['n_only_one']:,} : {pair['n_only_other']:,} of {pair['n']:,}"
        said = f"{better} is better" if pair["is_real"] else "no difference seen"
        rows.append([f"{one} : {other}", counts, f"p {pair['p']:.2g}", said])
    what = (
        "that one came nearer to than the other (sign test)" if is_sign else "that only one got right (McNemar's test)"
    )
    many = f", p corrected for {len(rows)} pairs" if len(rows) > 1 else ""
    lines = ["", f"Test examples {what}{many}", *format_table(rows).splitlines()] if rows else []
    return lines + [
        f"{letters[pair['one']]} and {letters[pair['other']]}: {pair['reason']}" for pair in pairs if "reason" in pair
    ]


def _metric_text(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if key.endswith("accuracy"):
        return share_text(value)
    if key == "seconds_training":
        return format_duration(value)
    return value_text(value if not isinstance(value, float) else float(f"{value:.4g}"))

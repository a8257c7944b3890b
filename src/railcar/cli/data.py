"""`railcar data check|prepare|samples|cache`: parse and print. What is wrong with data `workflows.check` finds."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from railcar.cli.console import Console
from railcar.cli.options import Duration, common_options, set_option
from railcar.cli.text import format_age, format_duration, format_size, format_table
from railcar.errors import RailcarError, UsageError
from railcar.registry import DATASETS
from railcar.storage.cache import CacheEntry, choose_entries, list_entries, remove_entry
from railcar.storage.local import cache_dir, write_atomic

if TYPE_CHECKING:
    from railcar.workflows.check import Checked

label_option = click.option("--label", metavar="COLUMN", help="The column of the labels, for files of rows.")


@click.group("data")
def command() -> None:
    """Check data, prepare it, and look after the cache.

    DATA is what `railcar train` takes: a folder, a file of rows, an npz, an archive, a known set, or a recipe.
    """


@command.command("check")
@click.argument("data", metavar="DATA")
@set_option
@label_option
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page with pictures and distributions, which opens without a network.",
)
@common_options(json=True)
def check_command(data: str, overrides: tuple[str, ...], label: str | None, html: Path | None, console: Console) -> int:
    """Say what is wrong with DATA: bad files, duplicates, leakage, imbalance, labels in doubt.

    Data is read and split as for a training, and nothing is trained. The exit status is 1 when training would refuse
    it.
    """
    from railcar.workflows.check import check

    checked = check(data, overrides=_with_label(overrides, label), **_look(console))
    if html is not None:
        _write_page(checked, html, console)
    if console.json:
        console.json_result(checked.diagnosis.to_json())
    else:
        from railcar.reporting.data_text import format_diagnosis

        console.result(format_diagnosis(checked.diagnosis))
    return 0 if checked.diagnosis.is_usable else 1


def _write_page(checked: Checked, path: Path, console: Console) -> None:
    from railcar.reporting.data_page import render_data_page

    page = render_data_page(checked.diagnosis, checked.dataset)
    # Names of files may hold bytes that are no UTF-8.
    write_atomic(path, page.encode("utf-8", "backslashreplace"))
    console.note(f"wrote {path}")


@command.command("prepare")
@click.argument("data", metavar="DATA")
@set_option
@label_option
@common_options(json=True)
def prepare_command(data: str, overrides: tuple[str, ...], label: str | None, console: Console) -> None:
    """Read DATA into the cache, so that a training starts at once.

    A training does the same when it is the first to read its data.
    """
    from railcar.workflows.prepare import prepare

    done = prepare(data, overrides=_with_label(overrides, label), **_look(console))
    sides = {name: len(split) for name, split in done.dataset.splits.items()}
    if console.json:
        console.json_result(
            {
                "source": done.dataset.source,
                "path": str(done.path),
                "n_bytes": done.n_bytes,
                "seconds": round(done.seconds, 3),
                "was_there": done.was_there,
                "fingerprint": done.dataset.fingerprint,
                "sides": sides,
            }
        )
        return
    told = ", ".join(f"{n:,} {side}" for side, n in sides.items())
    verb = "was there already" if done.was_there else f"prepared in {format_duration(done.seconds)}"
    console.result(
        f"{done.dataset.source}: {told}\n{verb}: {format_size(done.n_bytes)} in\n{done.path}\n"
        f"next  railcar train {data}"
    )


@command.command("pack")
@click.argument("data", metavar="DATA")
@click.argument("destination", metavar="DEST")
@common_options(json=True)
def pack_command(data: str, destination: str, console: Console) -> None:
    """Pack the image folder DATA into shards at DEST, a new folder or an address (gs://bucket/photos, s3://...).

    A training reads a few large files from a bucket sooner than many small ones. A pack is TFRecord of tf.train.Example
    with a manifest that is written last: one that was interrupted counts as none.
    """
    from railcar.workflows.prepare import pack

    packed = pack(data, destination, **_look(console))
    sides = {side: packed.count(side) for side in packed.sides}
    shards = [shard for side in packed.sides.values() for shard in side]
    n_bytes = sum(shard.n_bytes for shard in shards)
    if console.json:
        console.json_result({"destination": destination, "sides": sides, "n_shards": len(shards), "n_bytes": n_bytes})
        return
    told = ", ".join(f"{n:,} {side}" for side, n in sides.items())
    console.result(
        f"{told}: {len(shards)} shard{'s' if len(shards) > 1 else ''} of {format_size(n_bytes)} in all\n{destination}\n"
        f"next  railcar train {destination}"
    )


@command.command("samples")
@common_options(json=True)
def samples_command(console: Console) -> None:
    """The sets that railcar knows by name: embedded ones, and those that are fetched."""
    found = [
        {
            "name": name,
            "kind": entry.kind,
            "from": _find_origin(name),
            "what": entry.summary,
        }
        for name, entry in ((name, DATASETS[name]) for name in DATASETS)
    ]
    if console.json:
        console.json_result(found)
        return
    heads = {"name": "name", "kind": "kind", "from": "from", "what": "what"}
    console.result("\n".join(_sample_line(one) for one in [heads, *found]))
    console.note("\nnext  railcar train NAME  ·  railcar data check NAME")


def _sample_line(one: dict[str, str]) -> str:
    begin = f"{one['name']:<14}{one['kind']:<7}{one['from']:<10}"
    return textwrap.fill(_first_part(one["what"]), 80, initial_indent=begin, subsequent_indent=" " * len(begin))


def _find_origin(name: str) -> str:
    """ "embedded", "fetched", or "network", from where it is fetched when it is first used."""
    if DATASETS[name].is_embedded:
        return "embedded"
    return "fetched" if (cache_dir() / "datasets" / name).is_dir() else "network"


def _first_part(summary: str) -> str:
    """What the column beside it says already is left out."""
    return summary.removesuffix(", embedded").removesuffix(": part of MNIST, embedded")


@command.group("cache")
def cache_group() -> None:
    """List and clear what is kept: prepared sets, unpacked archives, downloads, copies of buckets and of runs there.

    It lies in RAILCAR_CACHE, by default ~/.cache/railcar. All of it can be made or fetched again, but for runs whose
    bucket could not be reached: these are listed, and never cleared.
    """


@cache_group.command("list")
@common_options(json=True)
def list_command(console: Console) -> None:
    """All entries with their sizes, those used last first."""
    entries = list_entries()
    if console.json:
        console.json_result({"folder": str(cache_dir()), "entries": [_plain(one) for one in entries]})
        return
    if not entries:
        console.note(f"nothing of data is in {cache_dir()}")
        return
    total = sum(one.n_bytes for one in entries)
    console.result(f"{_entry_table(entries)}\n{format_size(total)} in {cache_dir()}")


@cache_group.command("clear")
@click.option("--older-than", type=Duration(), metavar="AGE", help="Only what was not used for so long: 30d, 12h, 2w.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options(json=True)
def clear_command(older_than: float | None, yes: bool, console: Console) -> None:
    """Remove entries; what is in use or being built stays. Says what it freed."""
    entries = list_entries()
    chosen = choose_entries(entries, older_than_s=older_than or 0.0)
    if chosen and not yes:
        _ask(chosen)
    freed = {one.path: remove_entry(one) for one in chosen}
    gone = [one for one in chosen if freed[one.path] is not None]
    kept = [one for one in entries if one not in gone]
    n_bytes = sum(filter(None, freed.values()))
    if console.json:
        removed = [_plain(one) for one in gone]
        console.json_result(
            {"folder": str(cache_dir()), "freed_bytes": n_bytes, "removed": removed, "n_kept": len(kept)}
        )
        return
    n_building = sum(one.is_building or one in chosen for one in kept)
    n_unsent = sum(one.is_unsent for one in kept)
    more = f"; {_count(len(kept))} kept" if kept else ""
    more += f", {n_building} of them in use or being built" if n_building else ""
    more += f", {n_unsent} of them not sent to their bucket yet" if n_unsent else ""
    console.result(f"freed {format_size(n_bytes)}: {_count(len(gone))} removed{more}")


def _ask(chosen: Sequence[CacheEntry]) -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked whether to remove: there is no terminal", hint="add --yes")
    click.echo(_entry_table(chosen), err=True)
    size = format_size(sum(one.n_bytes for one in chosen))
    if not click.confirm(f"Remove {_count(len(chosen))} ({size})?", default=False, err=True):
        raise RailcarError("nothing was removed", hint="answer y to remove")


def _entry_table(entries: Sequence[CacheEntry]) -> str:
    rows = [["kind", "what", "name", "size", "used"]]
    for one in entries:
        rows.append([one.kind, _cut(one.what, 26), _cut(one.name, 14), format_size(one.n_bytes), format_age(one.used)])
    return format_table(rows, right_from=3)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _count(n: int) -> str:
    return "1 entry" if n == 1 else f"{n:,} entries"


def _plain(entry: CacheEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "what": entry.what,
        "path": str(entry.path),
        "n_bytes": entry.n_bytes,
        "used": entry.used.isoformat(),
        "is_building": entry.is_building,
        "is_unsent": entry.is_unsent,
    }


def _with_label(overrides: tuple[str, ...], label: str | None) -> tuple[str, ...]:
    return overrides if label is None else (*overrides, f"data.label={label}")


def _look(console: Console) -> dict[str, Any]:
    return {"quiet": console.quiet, "verbose": console.verbose, "color": console.color}

"""Model files: rows 78 to 80, what `railcar predict --artifact DIR` says of artifacts that are not as they should be.

Owns the wrong each of them has; how it is put into a file is `tests/artifact/hostile_files.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.artifact.hostile_files import KERAS_FILES, make
from tests.artifact.workshop import Bench, Outside, write_sound
from tests.bad_inputs.row import Row, Setting, Trial

DATA = "artifact"
FOREIGN, FOREIGN_HINT = "{data}: was not made by you on this machine", "if you know where it comes from: --trust"
REFUSED_HINT = "it is not loaded; ask who made it, or train it yourself"


def hostile(name: str, *words: str) -> Setting:
    """The artifact of that name, and further words of `predict`."""

    @contextmanager
    def setting(folder: Path) -> Iterator[Trial]:
        outside = Outside(folder / "outside")
        bench = Bench(write_sound(folder / "sound"), folder, outside)
        make(next(one for one in KERAS_FILES if one.name == name), bench, folder / DATA)
        yield Trial(str(folder / DATA), words)
        outside.close()

    return setting


def own(change: Callable[[Path], object]) -> Setting:
    """One that the user has made, and `change` was done to it since."""

    @contextmanager
    def setting(folder: Path) -> Iterator[Trial]:
        change(write_sound(folder / DATA))
        yield Trial(str(folder / DATA), ())

    return setting


def with_manifest(**what: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "artifact.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **what}))

    return change


def damage(folder: Path) -> None:
    path = folder / "model.keras"
    path.write_bytes(path.read_bytes()[:-1])


def row(number: int, what: str, setting: Setting, error: str, hint: str) -> Row:
    return Row(number, what, "R", DATA, error=error, hint=hint, named=error.partition(": ")[0], setting=setting)


ROWS = (
    row(78, "an artifact of somebody else", hostile("a Lambda that writes a file"), FOREIGN, FOREIGN_HINT),
    row(
        78,
        "figures that were changed",
        own(with_manifest(metrics={"test": {"accuracy": 1.0}})),
        FOREIGN,
        FOREIGN_HINT,
    ),
    row(
        78,
        "a Lambda, with --trust",
        hostile("a Lambda that writes a file", "--trust"),
        "{data}: layer 'innocent' is a keras.layers.Lambda, which is not on the list of what only computes",
        REFUSED_HINT,
    ),
    row(
        78,
        "a foreign layer, with --trust",
        hostile("a layer of a foreign package", "--trust"),
        "{data}: layer 'innocent' is a evil.layers.Dense, which is not on the list of what only computes",
        REFUSED_HINT,
    ),
    row(
        79,
        "8 GB asked for in 1 kB",
        hostile("8 GB in a Dense of 1 kB", "--trust"),
        "{data}: its network has 2,281,701,376 numbers, and 34 are stored with it",
        REFUSED_HINT,
    ),
    row(
        80,
        "a wrong checksum",
        own(damage),
        "{data}/model.keras: the checksum does not match artifact.json; the file was changed or damaged",
        "make it anew with: railcar evaluate RUN",
    ),
    row(
        80,
        "a newer format",
        own(with_manifest(format=99)),
        "{data}/artifact.json: format 99 is newer than this railcar knows (1)",
        'upgrade with: pip install --upgrade "railcar[cpu]"',
    ),
)

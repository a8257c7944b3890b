"""JSON Lines, npz files and archives, each with one thing wrong: rows 56 to 66."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bad_inputs.row import Row
from tests.bad_inputs.tables import LINE, N, draw_pets, text

LINES = "pets.jsonl"
NPZ = "digits.npz"
DAMAGED_HINT = "fetch it again, or save it anew with numpy.savez(path, x_train=..., y_train=...)"
SAVE_HINT = "save it again with numpy.savez(path, x_train=..., y_train=...)"
OBJECT_HINT = 'each line is an object: {"text": "...", "label": "..."}'
SINGLE = "digits.npz: a single array (.npy), though its name says .npz: each row is read as a label and 64 pixels"
DISTRUST = "do not trust this archive; if it is your own, pack it again from within its folder"
MEGABYTE = bytes(1 << 20)


def pets(line: str = "", *, end: str = "\n") -> str:
    """Objects, one a line, `line` being the one of line 31."""
    rows = [
        dict(zip(("width", "height", "label"), (float(a), float(b), label), strict=True)) for a, b, label in draw_pets()
    ]
    lines = [json.dumps(row) for row in rows]
    if line:
        lines[LINE - 1] = line
    return "\n".join(lines) + end


def draw_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return np.random.default_rng(0).integers(0, 256, (N, 8, 8), dtype=np.uint8), np.arange(N) % 2


class Code:
    """What unpickling it would do: leave a file behind."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


def write_objects(path: Path) -> None:
    images, _ = draw_digits()
    labels = np.array([Code(f"{path}.unpickled")] * N, dtype=object)
    np.savez(path, x_train=images, y_train=labels)


def write_uneven(path: Path) -> None:
    images, labels = draw_digits()
    np.savez(path, x_train=images, y_train=labels[:-1])


def write_truncated(path: Path) -> None:
    images, labels = draw_digits()
    np.savez(path, x_train=images, y_train=labels)
    path.write_bytes(path.read_bytes()[:-200])


def write_single(*, has_labels: bool) -> Callable[[Path], None]:
    """What `numpy.save` writes, under the name of an archive."""

    def make(path: Path) -> None:
        images, labels = draw_digits()
        flat = images.reshape(N, 64)
        with path.open("wb") as file:
            np.save(file, np.concatenate([labels[:, None], flat], axis=1) if has_labels else flat)

    return make


def write_zip(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("photos/cat/0.png", b"first")
            archive.writestr(name, b"out of here")

    return make


def write_tar(member: tarfile.TarInfo) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with tarfile.open(path, "w") as archive:
            first = tarfile.TarInfo("photos/cat/0.png")
            first.size = 5
            archive.addfile(first, io.BytesIO(b"first"))
            archive.addfile(member)

    return make


def link_out() -> tarfile.TarInfo:
    member = tarfile.TarInfo("photos/cat/1.png")
    member.type, member.linkname = tarfile.SYMTYPE, "../../../etc/hostname"
    return member


def write_tar_bomb(path: Path) -> None:
    """Two gigabytes in two megabytes, without making them: parts of a gzip file may follow one another."""
    member = tarfile.TarInfo("photos/cat/0.png")
    member.size = 2048 * len(MEGABYTE)
    zeros = gzip.compress(MEGABYTE)
    with path.open("wb") as file:
        file.write(gzip.compress(member.tobuf()))
        for _ in range(2048):
            file.write(zeros)
        file.write(gzip.compress(bytes(2 * tarfile.BLOCKSIZE)))


def refused(number: int, what: str, data: str, make: Callable[[Path], object], error: str, hint: str) -> Row:
    named = error.partition(":")[0] if error.startswith("line ") else data
    return Row(number, what, "R", data, make, error=f"{{data}}: {error}", hint=hint, named=named)


JSON_LINES = (
    refused(
        56,
        "NaN in line 31",
        LINES,
        text(pets('{"width": NaN, "height": 49.0, "label": "cat"}')),
        "line 31: NaN is no JSON",
        "write null where a value is missing",
    ),
    refused(
        57,
        "a last line that is cut",
        LINES,
        text(pets(end="")[:-9]),
        "line 120: the last line is not whole JSON",
        "the file is truncated: fetch it again",
    ),
    refused(
        58,
        "a key given twice in line 31",
        LINES,
        text(pets('{"width": 51.0, "width": 49.0, "label": "cat"}')),
        "line 31: key 'width' is given twice",
        "keep one of them",
    ),
    refused(
        59,
        "100,000 lists in one another",
        LINES,
        text(pets(f'{{"width": {"[" * 100_000}{"]" * 100_000}}}')),
        "line 31: values nested too deeply",
        OBJECT_HINT,
    ),
    refused(
        60,
        "an integer of 5,000 digits",
        LINES,
        text(pets(f'{{"width": {"7" * 5000}, "height": 49.0, "label": "cat"}}')),
        "line 31: a whole number of 5,000 digits",
        "write it as a string, or shorter",
    ),
)

ARRAYS = (
    refused(
        61,
        "Python objects",
        NPZ,
        write_objects,
        "Python objects in 'y_train', which railcar never unpickles (they could run code)",
        "save plain arrays: images as uint8, labels as integers or strings",
    ),
    refused(
        62,
        "more images than labels",
        NPZ,
        write_uneven,
        "x_train has 120 examples, y_train 119",
        "save as many labels as images, in the same order",
    ),
    refused(63, "a truncated npz", NPZ, write_truncated, "truncated or damaged, or not an .npz", DAMAGED_HINT),
    Row(
        64,
        "an npy of labels and pixels",
        "W",
        NPZ,
        write_single(has_labels=True),
        notes=(SINGLE,),
        named=SINGLE,
        n=N,
        classes=("0", "1"),
    ),
    Row(
        64,
        "an npy of pixels alone",
        "R",
        NPZ,
        write_single(has_labels=False),
        error="{data}: a single array (.npy) of shape 120x64, without labels",
        hint=SAVE_HINT,
        named=NPZ,
        because="pixels without labels are nothing to learn from",
    ),
)

ARCHIVES = (
    refused(
        65,
        "a zip with ../",
        "photos.zip",
        write_zip("../evil.png"),
        "holds the name '../evil.png', which leads out of its folder; nothing is unpacked",
        DISTRUST,
    ),
    refused(
        65,
        "a tar with an absolute name",
        "photos.tar",
        write_tar(tarfile.TarInfo("/tmp/evil.png")),
        "holds the name '/tmp/evil.png', which leads out of its folder; nothing is unpacked",
        DISTRUST,
    ),
    refused(
        65,
        "a tar with a link that leads out",
        "photos.tar",
        write_tar(link_out()),
        "holds the link 'photos/cat/1.png' to '../../../etc/hostname', which leads out of its folder; "
        "nothing is unpacked",
        DISTRUST,
    ),
    refused(
        66,
        "a tar.gz of 2 GB in 2 MB",
        "photos.tar.gz",
        write_tar_bomb,
        "unpacks to more than 1,000,000,000 bytes, the limit for an archive of its size",
        "if it is what it should be, unpack it by hand and give the folder",
    ),
    refused(
        66,
        "a csv.gz of 126 MB in 0.1 MB",
        "pets.csv.gz",
        text(gzip.compress(MEGABYTE) * 120),
        "unpacks to more than 100 MB, the limit for 0.1 MB",
        "unpack it yourself if it is what it should be",
    ),
)

ROWS = (*JSON_LINES, *ARRAYS, *ARCHIVES)

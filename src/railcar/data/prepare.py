"""Source -> prepared data: read once, kept in the cache, opened from there afterwards.

Owns when a prepared folder is used again, and the way from a source's name to a `Dataset`. What is in a source is
`sources/`'s business, what lies in a folder `store.py`'s, who is on which side `splits.py`'s, and how texts and rows
become numbers `encode.py`'s.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.classes import index_labels
from railcar.data.detect import FORMS, detect_form, locate
from railcar.data.fingerprint import count_summed, fingerprint_content, hash_examples, mean_and_std, sum_pixels
from railcar.data.leakage import find_near_pairs
from railcar.data.selection import Selection, select_classes
from railcar.data.sources import shards
from railcar.data.splits import Share, split_sides
from railcar.data.store import FORMAT, are_files_there, open_prepared, write_prepared
from railcar.data.types import (
    Dataset,
    Features,
    Prepared,
    Progress,
    RawData,
    RawRows,
    RawSplit,
    ReadOptions,
    Split,
)
from railcar.errors import DataError
from railcar.registry import DATASETS
from railcar.storage.address import is_remote
from railcar.storage.local import build_folder, cache_dir, explain_output_errors, remove_folder

# Images that tell the mean and the deviation of their pixels at the least.
N_TELLING = 1_000


def open_dataset(
    source: str,
    options: ReadOptions | None = None,
    *,
    seed: int = 0,
    validation: Share = None,
    test: Share = None,
    selection: Selection | None = None,
    **settings: Any,
) -> Dataset:
    """Open a known set, a sample or a path, prepared and split. Texts and table rows are not encoded yet: their inputs
    are what `encode.encode_dataset` makes of them.

    `options`, or `settings` for one, say how it is read and `selection` which examples are used; `validation` and
    `test` are None, a fraction, a count, `("last", n)` or the path of a source of their own; sides that the source has
    itself win. Raises `NotFound` and `DataError`.
    """
    options = options or ReadOptions(**settings)
    return _split_prepared(source, prepare_source(source, options), options, seed, validation, test, selection)


def open_arrays(
    images: NDArray[Any],
    labels: NDArray[Any],
    *,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    validation: Share = None,
    test: Share = None,
    image_size: tuple[int, int] | None = None,
    fit: str = "stretch",
    progress: Progress | None = None,
    selection: Selection | None = None,
) -> Dataset:
    """Open arrays in memory: `images` [n, height, width], [n, height, width, 1 or 3] or [n, pixels], uint8 or floats of
    0 to 1; `labels` [n] integers or strings, or indices of `class_names` when those are given. `image_size` and `fit`
    are as in `ReadOptions`.

    They are copied into the cache, under a hash of their content. Raises `DataError`.
    """
    from railcar.data.sources.npz import check_images, check_labels

    pixels = check_images(np.asarray(images), "the array of images")
    values = check_labels(np.asarray(labels), "the array of labels")
    if len(pixels) != len(values):
        raise DataError(
            f"{len(pixels):,} images, but {len(values):,} labels", hint="give as many labels as images, in their order"
        )
    if class_names is None:
        names, indices = index_labels({"train": values}, where="the arrays")
        codes = indices["train"]
    else:
        names, codes = tuple(class_names), _check_codes(values, len(class_names))
    raw = RawData("arrays", names, {"train": RawSplit(pixels, codes, "train")})
    options = ReadOptions(image_size=image_size, fit=fit, progress=progress)
    content = fingerprint_content(names, {"train": (pixels.shape[1:], hash_examples(pixels), codes)})
    prepared = _reuse_or_build(_key(["arrays", content, image_size, fit]), "arrays", lambda _: raw, options, ())
    return _split_prepared("arrays", prepared, options, seed, validation, test, selection)


def open_frame(
    frame: Any,
    options: ReadOptions,
    *,
    seed: int = 0,
    validation: Share = None,
    test: Share = None,
    selection: Selection | None = None,
) -> Dataset:
    """Open a frame of polars or pandas in memory, as a file of the same rows would be; it is kept in the cache, under a
    hash of its content. Raises `DataError`."""
    from railcar.data.sources.rows import hash_rows, read_frame
    from railcar.storage.frames import to_frame

    rows = to_frame(frame)
    content = hashlib.blake2b(hash_rows(rows).tobytes(), digest_size=16).hexdigest()
    key = _key(["frame", rows.columns, [str(one) for one in rows.dtypes], content, *_describe_options(options)])
    prepared = _reuse_or_build(key, "frame", lambda told: read_frame(rows, told), options, ())
    return _split_prepared("arrays", prepared, options, seed, validation, test, selection)


def _check_codes(values: NDArray[Any], n_classes: int) -> NDArray[np.int32]:
    if not np.issubdtype(values.dtype, np.integer):
        raise DataError(
            "labels are not integers, but class names are given", hint="give indices, or leave the names out"
        )
    if values.min() < 0 or values.max() >= n_classes:
        wrong = int(np.flatnonzero((values < 0) | (values >= n_classes))[0])
        raise DataError(
            f"label {values[wrong]} (example {wrong}) is not an index of the {n_classes} class names",
            hint=f"labels go from 0 to {n_classes - 1}",
        )
    return values.astype(np.int32)


def _split_prepared(
    source: str,
    prepared: Prepared,
    options: ReadOptions,
    seed: int,
    validation: Share,
    test: Share,
    selection: Selection | None = None,
) -> Dataset:
    def prepare_other(other: str) -> Prepared:
        return prepare_source(other, _told_of(prepared, options))

    selection = selection or Selection()
    prepared = select_classes(prepared, selection.classes)
    splits, notes = split_sides(
        prepared, seed=seed, validation=validation, test=test, prepare_other=prepare_other, selection=selection
    )
    features = _describe_images(prepared, splits["train"]) if prepared.kind == "image" else _describe_rows(prepared)
    return Dataset(
        source,
        prepared.form,
        features,
        splits,
        prepared.fingerprint,
        prepared.path,
        (*prepared.notes, *notes),
        prepared.label,
    )


def _told_of(prepared: Prepared, options: ReadOptions) -> ReadOptions:
    """How a side of its own is read, so that it is like the training side."""
    if prepared.kind != "image":
        return replace(
            options, label=prepared.label, kind=prepared.kind, task=prepared.task, known=prepared.columns, group=None
        )
    height, width = tuple[int, ...](prepared.sides["train"].inputs.shape)[1:3]
    return replace(options, kind="image", image_size=options.image_size or (height, width))


def _describe_images(prepared: Prepared, train: Split) -> Features:
    height, width, channels = train.inputs.shape[1:]
    sums = prepared.sides["train"].sums
    if sums is None:
        raise DataError(f"{prepared.path}: prepared data is damaged", hint="remove the folder and try again")
    known = sums if len(train) == len(sums) else sums[train.rows]
    known = known[known[:, 0, 0] >= 0]
    if len(known) < min(len(train), N_TELLING):  # few of very many are trained on
        known = sum_pixels(np.asarray(train.inputs[train.rows[:: max(1, len(train) // N_TELLING)]]))
    mean, std = mean_and_std(known, count_summed(height, width))
    return Features("image", (height, width, channels), prepared.class_names, mean, std)


def _describe_rows(prepared: Prepared) -> Features:
    """As far as it is known before the encoding is fitted."""
    columns = [{"name": one.name, "type": one.type, "form": one.form} for one in prepared.columns]
    encoding = {"columns": columns, "dropped": dict(prepared.dropped)}
    return Features(prepared.kind, (), prepared.class_names, task=prepared.task, encoding=encoding)


def prepare_source(source: str, options: ReadOptions) -> Prepared:
    """Open what is prepared of `source`, or read it and prepare it. A source whose files changed is read again."""
    asked = _describe_options(options)
    if options.may_stream and source not in DATASETS and is_remote(source) and (pack := shards.find_stream(source)):
        key = _key(["stream", source, pack.manifest.index.sha256, *asked])
        return _reuse_or_build(key, "shards", lambda told: shards.read_stream(pack, source, told), options, ())
    with _explain_read_errors(source):
        path = locate(source, options.progress)
        form_name, reason = detect_form(path)
        form = FORMS[form_name]
        # a link that leads nowhere is an unreadable example, not a reason to stop here
        stats = [(file, _stat(file)) for file in form.list_files(path)]
    seen = [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in stats]
    notes = () if source in DATASETS else (reason,)
    # a pack that may be decoded later tells the mean of its pixels by its index
    is_later = form_name == "shards" and options.may_stream
    key = _key([form_name, str(path.resolve()), seen, *asked, is_later])
    return _reuse_or_build(key, form_name, lambda told: form.read(path, told), options, notes)


def _describe_options(options: ReadOptions) -> list[Any]:
    """What makes the prepared data of a source differ."""
    known = [(one.name, one.type, one.form) for one in options.known]
    images = [options.image_size, options.fit, options.keep]
    rows = [options.label, options.kind, options.task, options.group, options.drop, dict(options.columns), known]
    return [options.max_bad, *images, *rows]


def _stat(file: Path | str) -> os.stat_result:
    try:
        return os.stat(file)  # noqa: PTH116  making a path of each text takes longer than asking for it
    except OSError:
        if Path(file).is_symlink():
            return Path(file).lstat()
        raise


def _key(parts: list[Any]) -> str:
    return hashlib.blake2b(json.dumps([FORMAT, *parts]).encode(errors="surrogateescape"), digest_size=12).hexdigest()


def _reuse_or_build(key: str, form: str, read: Any, options: ReadOptions, notes: tuple[str, ...]) -> Prepared:
    target = cache_dir() / "prepared" / key
    if (prepared := open_prepared(target)) and are_files_there(prepared):
        return prepared
    if target.exists():
        remove_folder(target)
    with build_folder(target) as folder:

        def allocate(name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
            return _allocate_file(folder / f"{name}.npy", shape)

        with _explain_read_errors(form):
            raw: RawData | RawRows = read(replace(options, allocate=allocate))
        if options.image_size and form != "folder" and isinstance(raw, RawData):
            raw = _resize(raw, options.image_size, options.fit)
        if isinstance(raw, RawData):
            raw = replace(raw, warnings=(*raw.warnings, *find_near_pairs(raw.sides, folder)))
        write_prepared(raw, folder, notes)
    prepared = open_prepared(target)
    if prepared is None:
        raise DataError(f"{target}: prepared data cannot be read back", hint="remove the folder and try again")
    return prepared


def _allocate_file(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A memory map of a new .npy file, its space reserved: a disk that fills up later would kill the process."""
    with explain_output_errors(path, hint=f"free some space or set RAILCAR_CACHE: {prod(shape) / 1e9:.1f} GB needed"):
        array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


@contextmanager
def _explain_read_errors(source: str) -> Iterator[None]:
    """Turn what the system says while a source is read (no permission, a name too long) into `DataError`."""
    try:
        yield
    except OSError as error:
        name = error.filename or source
        what = f"{str(name)[:200]}: {(error.strerror or str(error)).lower()}"
        raise DataError(what, hint="check the path and its permissions") from error


def _resize(raw: RawData, image_size: tuple[int, int], fit: str) -> RawData:
    """The same with images of (height, width), by the function that the model itself uses."""
    if all(split.images.shape[1:3] == image_size for split in raw.sides.values()):
        return raw
    from railcar.layers.images import resize_images

    def resize_side(split: RawSplit) -> RawSplit:
        images = np.asarray(split.images)
        starts = range(0, len(images), 1024)
        blocks = [np.asarray(resize_images(images[i : i + 1024], image_size, fit)) for i in starts]
        hashes = hash_examples(images) if split.hashes is None else split.hashes
        return RawSplit(np.concatenate(blocks), split.labels, split.ids, hashes)

    sides = {name: resize_side(split) for name, split in raw.sides.items()}
    return RawData(raw.form, raw.class_names, sides, raw.warnings)

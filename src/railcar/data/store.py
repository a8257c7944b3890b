"""Prepared data on disk: plain .npy files and Parquet in one folder, with an index that is written last.

Owns the layout, and that a folder which is not whole counts as none. Where folders lie is `prepare.py`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.decoding import EncodedImages, Files, PixelStore
from railcar.data.fingerprint import fingerprint_content, hash_examples, sum_pixels
from railcar.data.types import Prepared, PreparedSide, RawData, RawRows

FORMAT = 5
INDEX = "prepared.json"
# Of images that stay encoded: where each one is.
FILE_NAMES, FILE_PLACES = "names", "places"
# Of those that are decoded once: which are.
FILLED = "filled.npy"


def write_prepared(raw: RawData | RawRows, folder: Path, notes: tuple[str, ...]) -> None:
    """Write the examples of all sides and then the index, which says how large each file must be."""
    content, sides = {}, {}
    for name, split in raw.sides.items():
        if isinstance(raw, RawRows):
            content[name] = _write_rows(raw, name, folder)
        else:
            content[name] = _write_images(raw, name, folder)
        sides[name] = {"n": len(split.labels), "ids": split.ids if isinstance(split.ids, str) else None}
        if isinstance(raw, RawData):
            images = raw.sides[name].images
            sides[name] |= {"image_shape": images.shape[1:]}
            if isinstance(images, EncodedImages):
                sides[name] |= {"fit": images.fit, "stream": str(images.stream.place) if images.stream else None}
        if not isinstance(split.ids, str):
            (folder / f"{name}.ids.json").write_text(json.dumps(list(split.ids)), encoding="utf-8")
    index = {
        "format": FORMAT,
        "form": raw.form,
        "class_names": raw.class_names,
        "sides": sides,
        "fingerprint": fingerprint_content(raw.class_names, content),
        "notes": [*notes, *raw.warnings],
        **(_describe_rows(raw) if isinstance(raw, RawRows) else {}),
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


def _write_images(raw: RawData, name: str, folder: Path) -> tuple[Any, ...]:
    split = raw.sides[name]
    images = split.images
    hashes = hash_examples(np.asarray(images)) if split.hashes is None else split.hashes
    sums = sum_pixels(np.asarray(images)) if split.sums is None else split.sums
    arrays = {"labels": split.labels, "hashes": hashes, "sums": sums}
    if isinstance(images, EncodedImages):
        arrays |= {FILE_NAMES: images.files.names, FILE_PLACES: images.files.places}
        if images.store:
            np.save(folder / f"{name}.{FILLED}", np.zeros(len(images), np.bool_))
    else:
        arrays["images"] = images
    for what, array in arrays.items():
        _write_array(folder / f"{name}.{what}.npy", array)
    return images.shape[1:], hashes, split.labels


def _write_rows(raw: RawRows, name: str, folder: Path) -> tuple[Any, ...]:
    side = raw.sides[name]
    side.frame.write_parquet(folder / f"{name}.rows.parquet", compression="lz4")
    arrays = {"labels": side.labels, "hashes": side.hashes, "groups": side.groups}
    for what, array in arrays.items():
        if array is not None:
            np.save(folder / f"{name}.{what}.npy", array)
    columns = [raw.kind, *([one.name, one.type] for one in raw.columns)]
    return (hashlib.blake2b(json.dumps(columns).encode(), digest_size=8).hexdigest(),), side.hashes, side.labels


def _describe_rows(raw: RawRows) -> dict[str, Any]:
    columns = [asdict(one) for one in raw.columns]
    return {"kind": raw.kind, "task": raw.task, "label": raw.label, "columns": columns, "dropped": dict(raw.dropped)}


def _write_array(path: Path, array: NDArray[Any]) -> None:
    """Write `array`, unless it is the whole of that very file already."""
    if isinstance(array, np.memmap) and path.exists() and array.filename is not None:
        if Path(array.filename) == path.absolute() and array.base is not None and array.offset:
            array.flush()
            if path.stat().st_size == array.offset + array.nbytes:
                return
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            np.save(file, array)
        partial.replace(path)
        return
    np.save(path, array)


def open_prepared(folder: Path) -> Prepared | None:
    """What lies in `folder`, images as memory maps; None when it is not there, damaged, or of another format."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            return None
        if any((folder / name).stat().st_size != size for name, size in index["files"].items()):
            return None
        return _open(folder, index)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def are_files_there(prepared: Prepared) -> bool:
    """Whether what images are decoded from is where it was, as far as a look tells."""
    inputs = [side.inputs for side in prepared.sides.values()]
    return all(one.is_there() for one in inputs if isinstance(one, EncodedImages))


def _open(folder: Path, index: dict[str, Any]) -> Prepared:
    from railcar.storage.columns import Column

    kind = index.get("kind", "image")
    return Prepared(
        folder,
        index["form"],
        tuple(index["class_names"]),
        {name: _open_side(folder, name, about, kind) for name, about in index["sides"].items()},
        index["fingerprint"],
        tuple(index["notes"]),
        kind,
        index.get("task", "classification"),
        index.get("label", ""),
        tuple(Column(**one) for one in index.get("columns", ())),
        index.get("dropped", {}),
    )


def _open_side(folder: Path, name: str, about: dict[str, Any], kind: str) -> PreparedSide:
    labels, hashes = _load(folder, name, "labels"), _load(folder, name, "hashes")
    ids: str | Sequence[str] | None = about["ids"]
    if ids is None:
        ids = list(json.loads((folder / f"{name}.ids.json").read_text(encoding="utf-8")))
    if kind == "image":
        is_encoded = (folder / f"{name}.{FILE_PLACES}.npy").exists()
        inputs: Any = _open_encoded(folder, name, about, hashes) if is_encoded else _load(folder, name, "images")
        sums, groups = _load(folder, name, "sums"), None
    else:
        import polars as pl

        has_groups = (folder / f"{name}.groups.npy").exists()
        inputs, sums = pl.read_parquet(folder / f"{name}.rows.parquet"), None
        groups = _load(folder, name, "groups") if has_groups else None
    if not len(inputs) == len(labels) == len(hashes) == about["n"]:
        raise ValueError(f"{name}: the arrays differ in length")
    return PreparedSide(inputs, labels, hashes, sums, ids, groups)


def _open_encoded(folder: Path, name: str, about: dict[str, Any], hashes: NDArray[np.uint64]) -> EncodedImages:
    from railcar.storage.stream import open_stream

    height, width, channels = about["image_shape"]
    filled, store = folder / f"{name}.{FILLED}", None
    if filled.exists():
        store = PixelStore(np.load(folder / f"{name}.images.npy", mmap_mode="r+"), filled)
    stream = open_stream(about["stream"]) if about["stream"] else None
    files = Files(_load(folder, name, FILE_NAMES), _load(folder, name, FILE_PLACES))
    return EncodedImages(files, (height, width, channels), hashes, fit=about["fit"], stream=stream, store=store)


def _load(folder: Path, name: str, what: str) -> NDArray[Any]:
    return np.load(folder / f"{name}.{what}.npy", mmap_mode="r")

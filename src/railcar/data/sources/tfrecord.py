"""TFRecord files of `tf.train.Example`, alone or as TensorFlow Datasets lays them out.

Owns the usual names of features, and what a TFDS folder says of its own. The framing is `storage/records.py`'s,
decoding `encoded.py`'s; the package tensorflow-datasets is not needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.classes import index_labels
from railcar.data.decoding import Encoded
from railcar.data.sources.encoded import read_encoded
from railcar.data.sources.layout import find_side
from railcar.data.sources.notes import Notes, name_some
from railcar.data.sources.npz import find_image_shape
from railcar.data.types import RawData, RawSplit, ReadOptions
from railcar.errors import DataError
from railcar.registry import check_tensorflow
from railcar.storage.images import find_format
from railcar.storage.records import (
    Buffer,
    Place,
    Values,
    check_contents,
    list_records,
    open_records,
    parse_example,
    unpack_records,
)

IMAGE_KEYS = (b"image/encoded", b"image", b"image_raw", b"image/raw", b"img", b"image_bytes", b"encoded_image")
LABEL_KEYS = (b"image/class/label", b"label", b"image/label", b"labels", b"class", b"target")
TEXT_KEYS = (b"image/class/text", b"label_text", b"label_name", b"class_name", b"image/class/name")
SIZE_KEYS = (
    (b"image/height", b"height", b"rows"),
    (b"image/width", b"width", b"cols"),
    (b"image/channels", b"channels", b"depth", b"image/depth"),
)
INFO_FILE, FEATURES_FILE = "dataset_info.json", "features.json"
_NAME = re.compile(r"\.tfrec(ord)?s?(-\d+-of-\d+)?(\.gz)?$", re.IGNORECASE)
_REPORT_EVERY = 1024
_HINT = "write image/encoded (or image_raw) and image/class/label (or label) into each tf.train.Example"


@dataclass(frozen=True)
class Keys:
    """Where to look in each example, best first; `names` are those of the integer labels, when they are known."""

    image: tuple[bytes, ...] = IMAGE_KEYS
    label: tuple[bytes, ...] = LABEL_KEYS
    text: tuple[bytes, ...] = TEXT_KEYS
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """One example of one file: where its image is, and how large it says that it is (0: not said). `plain` is the file,
    or the plain copy of one that is packed."""

    file: Path
    plain: Path
    number: int
    image: Place
    label: int | str
    size: tuple[int, int, int]

    @property
    def name(self) -> str:
        return f"{self.file.name}/{self.number}"


def is_tfrecord(path: Path) -> bool:
    """By its name alone."""
    return bool(_NAME.search(path.name))


def find_tfrecords(path: Path) -> list[Path]:
    """The file itself, or those right in a folder, by name."""
    if path.is_file():
        return [path]
    return sorted(entry for entry in path.iterdir() if is_tfrecord(entry) and entry.name[0] != "." and entry.is_file())


def read_tfrecords(path: Path, options: ReadOptions | None = None) -> RawData:
    """Read TFRecord files, each on the side that its name has (`train-00000-of-00010.tfrecord`), else to train on.

    Raises `DataError` for damaged files, and for examples without an image or a label.
    """
    shards: dict[str, list[Path]] = {}
    for file in find_tfrecords(path):
        shards.setdefault("train" if path.is_file() else _side_of(file), []).append(file)
    if "train" not in shards:
        raise DataError(f"{path}: no TFRecord file of a side to train on", hint="name one train.tfrecord")
    return _read_shards(path, shards, Keys(), options or ReadOptions())


def _side_of(file: Path) -> str:
    words = re.split(r"[^a-z]+", _NAME.sub("", file.name).lower())
    return next((side for word in reversed(words) if (side := find_side(word))), "train")


def find_tfds_folder(path: Path) -> Path | None:
    """The folder of a set of TensorFlow Datasets: `path`, or the newest version (`3.0.1`) right in it."""
    versions = sorted(
        (entry for entry in path.iterdir() if re.fullmatch(r"\d+\.\d+\.\d+", entry.name) and entry.is_dir()),
        key=lambda entry: [int(part) for part in entry.name.split(".")],
    )
    for folder in (path, *reversed(versions)):
        if (folder / INFO_FILE).is_file() and (folder / FEATURES_FILE).is_file():
            return folder
    return None


def list_tfds_files(path: Path) -> list[Path]:
    folder = find_tfds_folder(path) or path
    return [*find_tfrecords(folder), *(folder / name for name in (INFO_FILE, FEATURES_FILE))]


def read_tfds_folder(path: Path, options: ReadOptions | None = None) -> RawData:
    """Read what `tfds.load` wrote, without that package: its own description says which features and splits there are.

    Raises `DataError` for sets of other things than images with a class, and for missing shards.
    """
    folder = find_tfds_folder(path) or path
    info, features = (_read_json(folder / name) for name in (INFO_FILE, FEATURES_FILE))
    keys = _find_keys(folder, features)
    shards: dict[str, list[Path]] = {}
    unused = []
    n_said = {}
    for split in info.get("splits", []):
        name = str(split.get("name", ""))
        side = find_side(name)
        if side is None or side in shards:
            unused.append(name)
            continue
        found = [file for file in find_tfrecords(folder) if re.search(rf"(^|-){re.escape(name)}\.", file.name)]
        lengths = [int(length) for length in split.get("shardLengths", [])]
        if len(found) != len(lengths):
            what = f"{len(found)} files of the split {name!r}, and {INFO_FILE} says {len(lengths)}"
            raise DataError(
                f"{folder}: {what}", hint="files in other formats than tfrecord are not read; fetch it again"
            )
        shards[side], n_said[side] = found, sum(lengths)
    if "train" not in shards:
        raise DataError(f"{folder}: no split to train on; it has: {name_some(unused) or 'none'}", hint=_HINT)
    raw = _read_shards(folder, shards, keys, options or ReadOptions(), n_said)
    notes = (f"splits that are not used: {name_some(unused)}",) if unused else ()
    return RawData("tfds", raw.class_names, raw.sides, (*raw.warnings, *notes))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {str(error)[:100]}", hint="fetch the set again") from error
    return found if isinstance(found, dict) else {}


def _find_keys(folder: Path, features: dict[str, Any]) -> Keys:
    """The one image and the one label of the set."""
    described = features.get("featuresDict", {}).get("features", {})
    images = [key for key, one in described.items() if str(one.get("pythonClassName", "")).endswith(".Image")]
    labels = [key for key, one in described.items() if str(one.get("pythonClassName", "")).endswith(".ClassLabel")]
    image = next((key for key in ("image", *images) if key in images), None)
    label = next((key for key in ("label", *labels) if key in labels), None)
    if image is None or label is None:
        kinds = name_some(
            [f"{key}: {str(one.get('pythonClassName', '?')).split('.')[-1]}" for key, one in described.items()]
        )
        raise DataError(
            f"{folder}: a set without an image and a class label ({kinds or 'no features'})",
            hint="sets of images with a class are read",
        )
    names = folder / f"{label}.labels.txt"
    known = tuple(names.read_text(encoding="utf-8").split("\n")) if names.is_file() else ()
    return Keys((image.encode(),), (label.encode(),), (), tuple(name for name in known if name))


def _read_shards(
    where: Path,
    shards: dict[str, list[Path]],
    keys: Keys,
    options: ReadOptions,
    n_said: dict[str, int] | None = None,
) -> RawData:
    check_tensorflow("reading TFRecord files")
    records: dict[str, list[Record]] = {}
    n_files = sum(map(len, shards.values()))
    n_done = 0
    is_encoded = True
    for side, files in shards.items():
        records[side] = []
        for file in files:
            plain = unpack_records(file)
            content = open_records(plain)
            found = _index_file(file, plain, content, keys)
            check_contents(file, plain)
            is_encoded = is_encoded and all(
                find_format(content[one.image.start : one.image.start + 16]) for one in found[:1]
            )
            records[side] += found
            n_done += 1
            if options.progress:
                options.progress("looking at files", n_done, n_files)
        if n_said and len(records[side]) != n_said[side]:
            what = f"{len(records[side]):,} examples on the {side} side, and {INFO_FILE} says {n_said[side]:,}"
            raise DataError(f"{where}: {what}", hint="fetch the set again")
    class_names, labels = index_labels(
        {s: np.array([r.label for r in of]) for s, of in records.items()}, where=str(where)
    )
    if not is_encoded:
        raw = {side: _read_raw(side, of, labels[side], options) for side, of in records.items()}
        return RawData("tfrecord", class_names, raw, _note_shape(raw))
    groups = {
        side: [
            Encoded(
                record.name, int(label), str(record.plain), record.image.start, record.image.stop - record.image.start
            )
            for record, label in zip(of, labels[side].tolist(), strict=True)
        ]
        for side, of in records.items()
    }
    sides, lines = read_encoded(groups, class_names, options, Notes(), where=str(where))
    return RawData("tfrecord", class_names, sides, lines)


def _index_file(file: Path, plain: Path, content: Buffer, keys: Keys) -> list[Record]:
    records = []
    for number, place in enumerate(list_records(file, content)):
        try:
            features = parse_example(content, place)
        except ValueError as error:
            raise DataError(f"{file}: record {number}: {error}", hint=_HINT) from error
        image = _first(features, keys.image)
        if image is None or not image.places:
            seen = name_some([key.decode("utf-8", "replace") for key in features])
            raise DataError(f"{file}: record {number} has no image; it has: {seen or 'nothing'}", hint=_HINT)
        height, width, channels = (_integer(features, names) for names in SIZE_KEYS)
        label = _find_label(file, number, content, features, keys)
        records.append(Record(file, plain, number, image.places[0], label, (height, width, channels)))
    if not records:
        raise DataError(f"{file}: holds no records", hint="fetch the file again")
    return records


def _first(features: dict[bytes, Values], names: Sequence[bytes]) -> Values | None:
    return next((features[name] for name in names if name in features), None)


def _integer(features: dict[bytes, Values], names: Sequence[bytes]) -> int:
    found = _first(features, names)
    return found.integers[0] if found and found.integers else 0


def _find_label(file: Path, number: int, content: Buffer, features: dict[bytes, Values], keys: Keys) -> int | str:
    """Its text where there is one, else its number, named when the set has names."""
    for names in (keys.text, keys.label):
        found = _first(features, names)
        if found and found.places:
            return bytes(content[found.places[0].start : found.places[0].stop]).decode("utf-8", "replace")
        if found and found.integers:
            label = found.integers[0]
            if keys.names and not 0 <= label < len(keys.names):
                what = f"record {number} has the label {label}, and there are {len(keys.names)} classes"
                raise DataError(f"{file}: {what}", hint="fetch the set again")
            return keys.names[label] if keys.names else label
    raise DataError(f"{file}: record {number} has no label that is a number or a text", hint=_HINT)


def _read_raw(side: str, records: list[Record], labels: NDArray[np.int32], options: ReadOptions) -> RawSplit:
    """Pixels as they are: of one shape, which the examples say, or which is a square."""
    first = records[0]
    n_bytes = first.image.stop - first.image.start
    height, width, channels = first.size
    if height and width and not channels and n_bytes % (height * width) == 0:
        channels = n_bytes // (height * width)
    shape = (height, width, channels)
    if not all(shape):
        shape = find_image_shape(n_bytes, f"{first.file}: record {first.number}")
    if prod(shape) != n_bytes or shape[2] not in (1, 3):
        what = f"its image has {n_bytes:,} bytes, which is neither an encoded image nor {'x'.join(map(str, shape))}"
        raise DataError(f"{first.file}: record {first.number}: {what}", hint="gray (1) and RGB (3) bytes can be read")
    images = options.allocate(f"{side}.images", (len(records), *shape))
    content: Buffer = b""
    opened: Path | None = None
    for row, record in enumerate(records):
        if record.plain != opened:
            content, opened = open_records(record.plain), record.plain
        if record.image.stop - record.image.start != n_bytes:
            what = f"its image has {record.image.stop - record.image.start:,} bytes, the first one {n_bytes:,}"
            raise DataError(f"{record.file}: record {record.number}: {what}", hint="give all images one size")
        images[row] = np.frombuffer(content[record.image.start : record.image.stop], np.uint8).reshape(shape)
        if options.progress and (row % _REPORT_EVERY == 0 or row + 1 == len(records)):
            options.progress(f"reading {side} images", row + 1, len(records))
    return RawSplit(images, labels, [record.name for record in records])


def _note_shape(sides: dict[str, RawSplit]) -> tuple[str, ...]:
    height, width, channels = sides["train"].images.shape[1:]
    for name, split in sides.items():
        if split.images.shape[1:] != (height, width, channels):
            raise DataError(
                f"the {name} side has images of another shape than the train side", hint="give all one size"
            )
    return (f"images are {'gray' if channels == 1 else 'RGB'}, all of {height}x{width}, stored as plain bytes",)

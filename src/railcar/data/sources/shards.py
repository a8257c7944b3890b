"""Packs of shards (`railcar data pack`): read from the disk or, while a training goes on, from a bucket; and made of a
folder of images.

Owns what the contents of a pack mean; the format, and reading it from a bucket, are `storage/shards.py`'s. Images are
decoded from where they lie in the shards, by the same code as those of folders. Packing decodes every image once and
notes what it saw in the index: so a training from a bucket knows all of its examples when it has read that.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.data.classes import check_classes
from railcar.data.decoding import (
    Encoded,
    EncodedImages,
    Files,
    PixelStore,
    count_threads,
    explain_bad,
    hash_content,
    read_content,
)
from railcar.data.fingerprint import count_summed, sum_block
from railcar.data.sources.encoded import choose_keeping, choose_shape, read_encoded
from railcar.data.sources.folder import find_files
from railcar.data.sources.layout import find_layout
from railcar.data.sources.notes import Notes, is_utf8, show_name
from railcar.data.sources.rows import read_row_files
from railcar.data.types import RawData, RawRows, RawSplit, ReadOptions
from railcar.errors import AccessDenied, DataError, NotFound, Unreachable
from railcar.storage.address import parse
from railcar.storage.images import ImageTooLarge, decode_content, read_header
from railcar.storage.shards import MANIFEST, Example, Look, Manifest, Progress, ShardSource, is_pack, open_shards, pack
from railcar.storage.stream import SHORT_PATIENCE_S, Stream, find_copy, open_stream

_REPORT_EVERY = 256


def list_shard_files(path: Path) -> list[Path]:
    """What a change of makes the pack be read again."""
    return [path / MANIFEST]


def read_shards(path: Path, options: ReadOptions | None = None) -> RawData | RawRows:
    """A pack in a folder of this computer. Every shard is verified before it is read; where its index says all that
    must be known and images may be decoded while they are used, none is decoded now. Raises `DataError`."""
    options = options or ReadOptions()
    source = open_shards(path)
    if "train" not in source.n_examples:
        raise DataError(f"{path}: the pack has no train side", hint="pack the data again, with a side named train")
    if source.manifest.kind == "row":
        return _read_rows(source, options)
    check_classes(source.class_names, where=str(path))
    source.verify(progress=options.progress)
    if options.may_stream and _is_indexed(source):
        return _read_indexed(source, options, lambda shard: str(path.absolute() / shard), None)
    groups = _list_images(path, source)
    sides, lines = read_encoded(groups, source.class_names, options, Notes(), where=str(path))
    return RawData("shards", source.class_names, sides, lines)


def _list_images(path: Path, source: ShardSource) -> dict[str, list[Encoded]]:
    groups: dict[str, list[Encoded]] = {side: [] for side in source.manifest.sides}
    columns = ("id", "label", "side", "shard", "offset", "length")
    for id, label, side, shard, offset, length in source.read_index().select(columns).iter_rows():
        file = str(path / source.manifest.sides[side][shard].name)
        groups[side].append(Encoded(id, label, file, offset, length))
    return groups


def find_stream(address: str) -> ShardSource | None:
    """The pack of images at an address of a bucket, when its index says all that must be known before training; None
    for anything else, and for what may not be read: fetching it says so of the address itself. Where the bucket cannot
    be reached and a complete copy is there, the index is that of the copy.

    Raises `Unreachable`, and `DataError` for a damaged or newer pack.
    """
    place = parse(address)
    if not place.is_bucket:
        return None
    copy = find_copy(place)
    try:
        source = open_shards(place, within_s=SHORT_PATIENCE_S if copy else None)
    except (NotFound, AccessDenied):
        return None
    except Unreachable:
        if copy is None:
            raise
        if not is_pack(copy):
            return None
        source = open_shards(copy)
    if source.manifest.kind != "image" or "train" not in source.n_examples:
        return None
    return source if _is_indexed(source) else None


def _is_indexed(source: ShardSource) -> bool:
    """Whether its images were decoded when it was packed, and the index says what was seen."""
    return "hash" in source.read_index().columns


def read_stream(source: ShardSource, address: str, options: ReadOptions) -> RawData:
    """The images of a pack, all known by its index and none of them read yet."""
    where = parse(address)
    check_classes(source.class_names, where=str(where))
    return _read_indexed(source, options, lambda shard: shard, open_stream(str(where)))


def _read_indexed(
    source: ShardSource, options: ReadOptions, name_file: Callable[[str], str], stream: Stream | None
) -> RawData:
    index = source.read_index()
    height, width, is_gray = (index[name].to_numpy() for name in ("height", "width", "is_gray"))
    shape = choose_shape(height, width, is_gray, options.image_size)
    keeps_pixels, why = choose_keeping(len(index) * math.prod(shape.image_shape), shape.times, options)
    sides = {}
    for side, shards in source.manifest.sides.items():
        rows = index.filter(index["side"] == side)
        names = [name_file(shard.name) for shard in shards]
        paths = [names[number] for number in rows["shard"].to_list()]
        files = Files.make(paths, list(zip(rows["offset"].to_list(), rows["length"].to_list(), strict=True)))
        hashes = rows["hash"].to_numpy().astype(np.uint64)
        n_rows = (len(rows), *shape.image_shape)
        store = PixelStore(options.allocate(f"{side}.images", n_rows)) if keeps_pixels else None
        images = EncodedImages(files, shape.image_shape, hashes, fit=options.fit, stream=stream, store=store)
        labels = rows["label"].to_numpy().astype(np.int32)
        sums = _sum_looks(rows, shape.image_shape, options.fit)
        sides[side] = RawSplit(images, labels, rows["id"].to_list(), hashes, sums)
    how = "decoded once, as they come" if keeps_pixels else f"kept encoded, and decoded while training: {why}"
    where = (
        "are read from the bucket while training, and" if stream else "were looked at when they were packed, and are"
    )
    lines = (shape.reason, f"the images {where} {how}")
    return RawData("shards", source.class_names, {side: one for side, one in sides.items() if len(one.labels)}, lines)


def _sum_looks(rows: Any, image_shape: tuple[int, int, int], fit: str) -> NDArray[np.int64]:
    """As `fingerprint.sum_pixels`, by what the images are before they are resized, and the black around padded ones."""
    height, width, channels = image_shape
    means = np.stack([rows["means"].to_numpy(), rows["squares"].to_numpy()], axis=2)[:, :channels]
    if fit == "pad":
        sides = rows["height"].to_numpy() / height, rows["width"].to_numpy() / width
        means = means * (np.minimum(*sides) / np.maximum(*sides))[:, None, None]
    return np.rint(means * count_summed(height, width)).astype(np.int64)


def _read_rows(source: ShardSource, options: ReadOptions) -> RawData | RawRows:
    """As the same rows in files of JSON lines, the label among them."""
    with tempfile.TemporaryDirectory(prefix="railcar-rows-") as folder:
        files = {side: Path(folder) / f"{side}.jsonl" for side in source.n_examples}
        for side, file in files.items():
            with file.open("wb") as opened:
                opened.writelines(example.content.rstrip(b"\n") + b"\n" for example in source.iterate(side))
        return read_row_files(files, options)


def pack_folder(
    path: Path,
    destination: str | Path,
    *,
    max_bad: float = 0.01,
    notes: Notes | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Pack the images of a folder, their bytes as they are, into shards at `destination` (a folder, gs:// or s3://).

    Each is decoded before: what cannot be read is left out, and lands in `notes` with what is remarkable. Raises
    `DataError` as reading the folder does, for more bad ones than the share `max_bad` among others.
    """
    class_names, images = list_images(path)
    notes = notes or Notes()
    n_all = sum(map(len, images.values()))
    looks = {side: _look_at(found, notes, progress) for side, found in images.items()}
    notes.check(n_all, max_bad)
    left = {name for found in looks.values() for name in (one.class_index for one, _ in found)}
    if missing := [name for number, name in enumerate(class_names) if number not in left]:
        raise DataError(f"{path}: no image of the class {missing[0]!r} can be read", hint="replace its images")
    examples = (_read_example(image, look) for found in looks.values() for image, look in found)
    sides = {side: len(found) for side, found in looks.items()}
    return pack(examples, class_names, destination, sides, progress=progress)


def list_images(path: Path) -> tuple[tuple[str, ...], dict[str, list[Encoded]]]:
    """Class names, and the images of each side in the order of their paths."""
    layout, _ = find_layout(path)
    class_names = tuple(layout["train"])
    return class_names, {
        side: [
            Encoded((folder / name).relative_to(path).as_posix(), class_names.index(class_name), str(folder / name))
            for class_name, folder in classes.items()
            for name in _names_in(folder)
        ]
        for side, classes in layout.items()
    }


def _names_in(folder: Path) -> Iterator[str]:
    names = find_files(folder).images
    if not names:
        raise DataError(f"{folder}: no images in this class folder", hint="put images into it, or remove the folder")
    yield from names


def _look_at(images: list[Encoded], notes: Notes, progress: Progress | None) -> list[tuple[Encoded, Look]]:
    """Those that can be read, with what was seen of them."""
    found = []
    with ThreadPoolExecutor(count_threads()) as pool:
        for number, (image, seen) in enumerate(zip(images, pool.map(_look_at_one, images), strict=True), 1):
            if isinstance(seen, str):
                notes.bad[show_name(image.name)] = seen
                continue
            look, remarks = seen
            for key in remarks:
                notes.remark(key, image.name)
            found.append((image, look))
            if progress and (number % _REPORT_EVERY == 0 or number == len(images)):
                progress("looking at images", number, len(images))
    return found


def _look_at_one(image: Encoded) -> tuple[Look, tuple[str, ...]] | str:
    if not is_utf8(image.name):
        return "its name is not UTF-8"
    try:
        content = read_content(image)
        header = read_header(content, name=image.name)
        pixels, remarks = decode_content(content, 1 if header.is_gray else 3, name=image.name, header=header)
    except ImageTooLarge:
        raise
    except DataError as error:
        return explain_bad(image, error)
    height, width = pixels.shape[:2]
    sums = sum_block(pixels[None])[0] / count_summed(height, width)
    red, green, blue = (sums if len(sums) == 3 else sums[[0, 0, 0]]).tolist()
    means, squares = zip(red, green, blue, strict=True)
    return Look(hash_content(content), height, width, header.is_gray, means, squares), remarks


def _read_example(image: Encoded, look: Look) -> Example:
    try:
        content = Path(image.path).read_bytes()
    except OSError as error:
        raise DataError(
            f"{image.path}: cannot be read: {error.strerror or error}", hint="mend or remove it, then pack again"
        ) from error
    if hash_content(content) != look.hash:
        raise DataError(f"{image.path}: was changed while it was packed", hint="pack again")
    return Example(image.name, image.class_index, content, look)

"""Packs of shards (`railcar data pack`): read from the disk, and made of a folder of images.

Owns what the contents of a pack mean; the format, and reading it from a bucket, are `storage/shards.py`'s. Images are
decoded from where they lie in the shards, by the same code as those of folders.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from railcar.data.classes import check_classes
from railcar.data.sources.encoded import Encoded, Notes, read_encoded
from railcar.data.sources.folder import find_files
from railcar.data.sources.layout import find_layout
from railcar.data.sources.rows import read_row_files
from railcar.data.types import RawData, RawRows, ReadOptions
from railcar.errors import DataError
from railcar.storage.shards import MANIFEST, Manifest, Progress, ShardSource, open_shards, pack


@dataclass(frozen=True)
class Image:
    """One image file of a folder: `id` is its path below the folder."""

    id: str
    label: int
    path: Path


def list_shard_files(path: Path) -> list[Path]:
    """What a change of makes the pack be read again."""
    return [path / MANIFEST]


def read_shards(path: Path, options: ReadOptions | None = None) -> RawData | RawRows:
    """A pack in a folder of this computer. Every shard is verified before it is read. Raises `DataError`."""
    options = options or ReadOptions()
    source = open_shards(path)
    if "train" not in source.n_examples:
        raise DataError(f"{path}: the pack has no train side", hint="pack the data again, with a side named train")
    if source.manifest.kind == "row":
        return _read_rows(source, options)
    check_classes(source.class_names, where=str(path))
    source.verify(progress=options.progress)
    groups = _list_images(path, source)
    sides, lines = read_encoded(groups, source.class_names, options, Notes(), where=str(path))
    return RawData("shards", source.class_names, sides, lines)


def _list_images(path: Path, source: ShardSource) -> dict[str, list[Encoded]]:
    groups: dict[str, list[Encoded]] = {side: [] for side in source.manifest.sides}
    for id, label, side, shard, offset, length in source.read_index().iter_rows():
        file = str(path / source.manifest.sides[side][shard].name)
        groups[side].append(Encoded(id, label, file, offset, length))
    return groups


def _read_rows(source: ShardSource, options: ReadOptions) -> RawData | RawRows:
    """As the same rows in files of JSON lines, the label among them."""
    with tempfile.TemporaryDirectory(prefix="railcar-rows-") as folder:
        files = {side: Path(folder) / f"{side}.jsonl" for side in source.n_examples}
        for side, file in files.items():
            with file.open("wb") as opened:
                opened.writelines(example.content.rstrip(b"\n") + b"\n" for example in source.iterate(side))
        return read_row_files(files, options)


def pack_folder(path: Path, destination: str | Path, *, progress: Progress | None = None) -> Manifest:
    """Pack the images of a folder, their bytes as they are, into shards at `destination` (a folder, gs:// or s3://).

    Files are packed unread: what is no image is found when the pack is read, as it would be in the folder. Raises
    `DataError` as reading the folder does.
    """
    class_names, images = list_images(path)
    examples = (_read_example(image) for side in images.values() for image in side)
    sides = {side: len(found) for side, found in images.items()}
    return pack(examples, class_names, destination, sides, progress=progress)


def list_images(path: Path) -> tuple[tuple[str, ...], dict[str, list[Image]]]:
    """Class names, and the images of each side in the order of their paths."""
    layout, _ = find_layout(path)
    class_names = tuple(layout["train"])
    return class_names, {
        side: [
            Image((folder / name).relative_to(path).as_posix(), class_names.index(class_name), folder / name)
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


def _read_example(image: Image) -> tuple[str, int, bytes]:
    try:
        return image.id, image.label, image.path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{image.path}: cannot be read: {error.strerror or error}", hint="mend or remove it, then pack again"
        ) from error

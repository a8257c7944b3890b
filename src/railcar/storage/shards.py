"""Shards: many small examples as few large objects, which a bucket reads at the speed of the link.

Owns the format, writing and reading it. Knows examples as (id, label, bytes); what the bytes are is for `data/`.

    DEST/train-00000-1f0c2a9b.tfrecord   about 64 MB of records, each a tf.train.Example with the features
                                         `id` (bytes), `label` (int64, index of the class), `class_name` (bytes), and
                                         `image` (bytes: the file as it was) or `row` (bytes: JSON)
    DEST/index.parquet                   id, label, side, and where the image or row lies: shard, offset, length; of
                                         images also what a reader would have to decode them for (`Look`)
    DEST/manifest.json                   sides, classes, and of each object its size and SHA-256; written last:
                                         without it there is no pack

TFRecord, because readers of TensorFlow, JAX and PyTorch know it and a record costs 16 bytes beside its fields; in a tar
(as WebDataset has it) the small images that shards are for would grow by a kilobyte each. Shards bear a hash of their
content in their names: packing anew beside a pack that is in use changes none of its objects.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from railcar.errors import DataError, NotFound
from railcar.storage import remote
from railcar.storage.address import Address, parse
from railcar.storage.records import Place, list_records, parse_example
from railcar.storage.tfrecord import HEADER_BYTES, encode_example, encode_record

FORMAT = "railcar-shards"
FORMAT_VERSION = 2
MANIFEST = "manifest.json"
INDEX = "index.parquet"
SHARD_BYTES = 64_000_000
PART_BYTES = 4 << 20
N_AHEAD = 16
_N_UPLOADS = 4

Progress = Callable[[str, int, int], None]


class Look(NamedTuple):
    """What decoding an image shows: `hash`, 64 bits of the BLAKE2b of its bytes; its size in pixels, turned as its EXIF
    data says; whether it is gray; and of each channel (of gray images three times the same) the mean of its pixels, 0
    to 255, and of their squares."""

    hash: int
    height: int
    width: int
    is_gray: bool
    means: tuple[float, float, float]
    squares: tuple[float, float, float]


class Example(NamedTuple):
    """`label` is an index of the class names; `content` an image file's bytes, or a row as JSON; `look` says that it
    was decoded and is whole."""

    id: str
    label: int
    content: bytes
    look: Look | None = None


@dataclass(frozen=True)
class Shard:
    name: str
    n_examples: int
    n_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`kind` is what the contents are: "image" or "row". `sides` has the shards of each side, in order."""

    kind: str
    class_names: tuple[str, ...]
    sides: dict[str, tuple[Shard, ...]]
    index: Shard

    def count(self, side: str) -> int:
        """How many examples are on a side."""
        return sum(shard.n_examples for shard in self.sides[side])

    def to_json(self) -> bytes:
        sides = {
            side: {"n_examples": self.count(side), "shards": [asdict(shard) for shard in shards]}
            for side, shards in self.sides.items()
        }
        head = {"format": FORMAT, "version": FORMAT_VERSION, "records": "tfrecord of tf.train.Example"}
        body = {"kind": self.kind, "class_names": self.class_names, "sides": sides, "index": asdict(self.index)}
        return json.dumps({**head, **body}, indent=1, ensure_ascii=False).encode()


def pack(
    examples: Iterable[Example | tuple[str, int, bytes]],
    class_names: Sequence[str],
    destination: str | Path | Address,
    sides: Mapping[str, int],
    *,
    kind: str = "image",
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> Manifest:
    """Write `examples` as shards to a folder or bucket. `sides` says how many, in their order, are on each side.

    The same examples give the same bytes. A pack that is there is replaced by the last write, whole; a kill before
    leaves it as it was. Raises `DataError` when there are other numbers of examples or labels than said.
    """
    place = parse(destination)
    names = tuple(class_names)
    n_all, n_done = sum(sides.values()), 0
    given = iter(examples)
    rows: list[tuple[Any, ...]] = []
    looks: list[Look | None] = []
    written: dict[str, tuple[Shard, ...]] = {}
    with _Uploads(place) as uploads:
        for side, n_examples in sides.items():
            shards: list[Shard] = []
            for builder in _build_shards(given, _Builder(side, kind), n_examples, names, shard_bytes):
                shard = builder.finish(len(shards))
                uploads.add(shard.name, bytes(builder.data))
                rows += [
                    (*row, side, len(shards), *where) for row, where in zip(builder.rows, builder.places, strict=True)
                ]
                looks += builder.looks
                shards.append(shard)
                n_done += shard.n_examples
                if progress:
                    progress("packing examples", n_done, n_all)
            written[side] = tuple(shards)
        if next(given, None) is not None:
            raise DataError(
                f"{place}: there are more than the {n_all:,} examples that were announced", hint="count again"
            )
        index = _encode_index(rows, looks)
        uploads.add(INDEX, index)
    manifest = Manifest(kind, names, written, Shard(INDEX, n_all, len(index), hashlib.sha256(index).hexdigest()))
    remote.write(place / MANIFEST, manifest.to_json())
    _remove_others(place, manifest)
    return manifest


@dataclass
class _Builder:
    side: str
    kind: str
    data: bytearray = field(default_factory=bytearray)
    rows: list[tuple[str, int]] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    looks: list[Look | None] = field(default_factory=list)

    def add(self, example: Example | tuple[str, int, bytes], class_names: tuple[str, ...]) -> None:
        id, label, content = example[:3]
        look = example.look if isinstance(example, Example) else None
        if not 0 <= label < len(class_names):
            raise DataError(
                f"{id}: the label {label} is no index of {len(class_names)} classes",
                hint=f"labels go from 0 to {len(class_names) - 1}",
            )
        fields = {"id": id.encode(), "label": label, "class_name": class_names[label].encode(), self.kind: content}
        payload = encode_example(fields)
        self.rows.append((id, label))
        self.looks.append(look)
        # The last feature is the end of the payload.
        self.places.append((len(self.data) + HEADER_BYTES + len(payload) - len(content), len(content)))
        self.data += encode_record(payload)

    def finish(self, number: int) -> Shard:
        digest = hashlib.sha256(self.data).hexdigest()
        name = f"{self.side}-{number:05d}-{digest[:8]}.tfrecord"
        return Shard(name, len(self.rows), len(self.data), digest)


def _build_shards(
    examples: Iterator[Example | tuple[str, int, bytes]],
    builder: _Builder,
    n_examples: int,
    names: tuple[str, ...],
    shard_bytes: int,
) -> Iterator[_Builder]:
    side = builder.side
    for number in range(n_examples):
        example = next(examples, None)
        if example is None:
            raise DataError(
                f"the {side} side has {number:,} examples, of {n_examples:,} that were announced", hint="count again"
            )
        builder.add(example, names)
        if len(builder.data) >= shard_bytes:
            yield builder
            builder = _Builder(side, builder.kind)
    if builder.rows:
        yield builder


class _Uploads:
    """Writes objects in threads, a few at a time: what waits is held in memory."""

    def __init__(self, place: Address) -> None:
        self._place = place
        self._pool = ThreadPoolExecutor(_N_UPLOADS, thread_name_prefix="railcar-write")
        self._running: deque[Future[None]] = deque()

    def __enter__(self) -> _Uploads:
        return self

    def add(self, name: str, content: bytes) -> None:
        while len(self._running) >= _N_UPLOADS:
            self._running.popleft().result()
        self._running.append(self._pool.submit(remote.write, self._place / name, content))

    def __exit__(self, kind: object, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for one in self._running:
                one.result()


def _encode_index(rows: list[tuple[Any, ...]], looks: list[Look | None]) -> bytes:
    """The columns of looks are there when every example has one."""
    import polars

    schema = {
        **{"id": polars.String, "label": polars.Int32, "side": polars.String},
        **{"shard": polars.Int32, "offset": polars.UInt64, "length": polars.UInt64},
    }
    frame = polars.DataFrame(rows, schema=schema, orient="row")
    seen = [look for look in looks if look]
    if seen and len(seen) == len(rows):
        three = polars.Array(polars.Float64, 3)
        types = {"hash": polars.UInt64, "height": polars.UInt32, "width": polars.UInt32, "is_gray": polars.Boolean}
        schema = {**types, "means": three, "squares": three}
        frame = frame.hstack(polars.DataFrame(seen, schema=schema, orient="row"))
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def _remove_others(place: Address, manifest: Manifest) -> None:
    """Shards of an earlier pack at the same place."""
    kept = {shard.name for shards in manifest.sides.values() for shard in shards}
    for entry in list(remote.list_objects(place)):
        name = entry.key.rpartition("/")[2]
        if name.endswith(".tfrecord") and name not in kept:
            remote.delete_object(Address(place.scheme, place.bucket, entry.key))


class ShardSource:
    """A pack that is whole. Iterating needs no more memory than two shards."""

    def __init__(self, address: Address, manifest: Manifest) -> None:
        self.address = address
        self.manifest = manifest

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.manifest.class_names

    @property
    def n_examples(self) -> dict[str, int]:
        """How many examples each side has."""
        return {side: self.manifest.count(side) for side in self.manifest.sides}

    def iterate(self, side: str, start: int = 0, *, progress: Progress | None = None) -> Iterator[Example]:
        """The examples of a side in their fixed order, from number `start` on; `N_AHEAD` requests are under way ahead.

        Every shard is verified before its first example is handed out. Raises `DataError` that names a damaged one.
        """
        n_all = self.manifest.count(side)
        n_before, shards = 0, deque(self.manifest.sides[side])
        while shards and n_before + shards[0].n_examples <= start:
            n_before += shards.popleft().n_examples
        for shard, data in self._read(shards):
            for number, place in enumerate(list_records(Path(shard.name), data), n_before):
                if number >= start:
                    yield _decode(data, place, self.manifest.kind, str(self.address / shard.name))
            n_before += shard.n_examples
            if progress:
                progress(f"reading {side} shards", n_before, n_all)

    def verify(self, *, progress: Progress | None = None) -> None:
        """Raise `DataError` that names the first shard that is damaged: for who reads the shards by the index."""
        shards = [shard for side in self.manifest.sides.values() for shard in side]
        for number, _ in enumerate(self._read(shards), 1):
            if progress:
                progress("verifying shards", number, len(shards))

    def read_index(self) -> Any:
        """The index as a polars DataFrame. Raises `DataError` when it is not the one that the manifest means."""
        return self._index

    @cached_property
    def _index(self) -> Any:
        import polars

        content = remote.read(self.address / self.manifest.index.name)
        _verify(self.address, self.manifest.index, content)
        return polars.read_parquet(io.BytesIO(content))

    def _read(self, shards: Iterable[Shard]) -> Iterator[tuple[Shard, bytes]]:
        wanted = list(shards)
        spans = {
            shard: [(at, min(at + PART_BYTES, shard.n_bytes)) for at in range(0, shard.n_bytes, PART_BYTES)]
            for shard in wanted
        }
        parts = remote.read_spans(((self.address / one.name, span) for one in wanted for span in spans[one]), N_AHEAD)
        for shard in wanted:
            data = b"".join(next(parts) for _ in spans[shard])
            _verify(self.address, shard, data)
            yield shard, data


def open_shards(address: str | Path | Address, *, within_s: float | None = None) -> ShardSource:
    """The pack at `address`. Raises `NotFound` when none is there that is whole, `DataError` for a newer form, and
    `Unreachable` after `within_s` seconds."""
    place = parse(address)
    try:
        content = remote.read(place / MANIFEST, within_s=within_s)
    except NotFound as error:
        raise NotFound(
            f"{place}: no pack of shards: {MANIFEST} is not there, which is written last",
            hint=f"pack the data again: railcar data pack DATA {place}",
        ) from error
    try:
        found = json.loads(content)
        if found["format"] != FORMAT:
            raise ValueError(found["format"])
        if found["version"] > FORMAT_VERSION:
            raise DataError(f"{place}: a pack of version {found['version']}", hint="install a newer railcar")
        sides = {side: tuple(Shard(**shard) for shard in about["shards"]) for side, about in found["sides"].items()}
        manifest = Manifest(found["kind"], tuple(found["class_names"]), sides, Shard(**found["index"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{place / MANIFEST}: not the manifest of a pack of shards", hint="give the address of a pack"
        ) from error
    return ShardSource(place, manifest)


def is_pack(folder: Path) -> bool:
    """Whether a local folder holds a pack of shards."""
    try:
        return json.loads((folder / MANIFEST).read_bytes()).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def _verify(place: Address, shard: Shard, data: bytes) -> None:
    if len(data) != shard.n_bytes or hashlib.sha256(data).hexdigest() != shard.sha256:
        raise DataError(
            f"{place / shard.name}: the checksum does not match; the file is damaged",
            hint=f"pack the data again: railcar data pack DATA {place}",
        )


def _decode(data: bytes, place: Place, kind: str, where: str) -> Example:
    try:
        features = parse_example(data, place)
        id, content = (data[slice(*features[name.encode()].places[0])] for name in ("id", kind))
        return Example(id.decode(), features[b"label"].integers[0], content)
    except (ValueError, KeyError, IndexError) as error:
        raise DataError(f"{where}: an example without id, label and {kind}", hint="pack the data again") from error

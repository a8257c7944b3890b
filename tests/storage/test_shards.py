from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from railcar.errors import DataError, NotFound, Unreachable
from railcar.storage import remote
from railcar.storage.fetch import fetch_tree
from railcar.storage.shards import MANIFEST, is_pack, open_shards, pack
from tests.places import Place

NAMES = ("cat", "dog")
SIDES = {"train": 50, "test": 7}


def make_examples(n: int = 57, seed: int = 0) -> list[tuple[str, int, bytes]]:
    return [(f"{n % 2}/é{n}.jpg", n % 2, bytes([seed, n]) * (500 + 40 * n)) for n in range(n)]


def pack_small(place: Place, examples: list[tuple[str, int, bytes]] | None = None):
    return pack(examples or make_examples(), NAMES, f"{place.address}/pack", SIDES, shard_bytes=20_000)


def test_a_pack_gives_back_every_example_in_its_order_from_anywhere(place: Place) -> None:
    manifest = pack_small(place)
    assert len(manifest.sides["train"]) > 3
    source = open_shards(f"{place.address}/pack")
    assert (source.class_names, source.n_examples) == (NAMES, SIDES)
    examples = make_examples()
    calls: list[tuple[str, int, int]] = []
    found = list(source.iterate("train", progress=lambda *given: calls.append(given)))
    assert [(one.id, one.label, one.content) for one in found] == examples[:50]
    assert calls[-1] == ("reading train shards", 50, 50)
    for start in (0, 1, 17, 49, 50):
        assert [one.id for one in source.iterate("train", start)] == [id for id, _, _ in examples[start:50]]
    assert [one.content for one in source.iterate("test")] == [content for _, _, content in examples[50:]]


def test_the_index_says_where_each_image_lies(place: Place) -> None:
    manifest = pack_small(place)
    index = open_shards(f"{place.address}/pack").read_index()
    assert index.select("id", "label").rows() == [(id, label) for id, label, _ in make_examples()]
    _, _, side, shard, offset, length = index.row(30)
    name = manifest.sides[side][shard].name
    assert remote.read(f"{place.address}/pack/{name}", (offset, offset + length)) == make_examples()[30][2]


def test_the_same_examples_are_the_same_bytes(place: Place) -> None:
    pack_small(place)
    names = {entry.key for entry in remote.list_objects(f"{place.address}/pack")}
    before = remote.read(f"{place.address}/pack/{MANIFEST}")
    pack_small(place)
    assert remote.read(f"{place.address}/pack/{MANIFEST}") == before
    assert {entry.key for entry in remote.list_objects(f"{place.address}/pack")} == names


def test_other_readers_read_the_shards(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    pack(make_examples(), NAMES, tmp_path, SIDES, shard_bytes=20_000)
    paths = sorted(str(path) for path in tmp_path.glob("train-*.tfrecord"))
    features = {
        name: tensorflow.io.FixedLenFeature([], tensorflow.int64 if name == "label" else tensorflow.string)
        for name in ("id", "label", "class_name", "image")
    }
    found = [
        {name: value.numpy() for name, value in tensorflow.io.parse_single_example(record, features).items()}
        for record in tensorflow.data.TFRecordDataset(paths)
    ]
    assert [(one["id"].decode(), one["label"], one["image"]) for one in found] == make_examples()[:50]
    assert found[1]["class_name"] == b"dog"


def test_without_its_manifest_there_is_no_pack(place: Place) -> None:
    pack_small(place)
    remote.delete(f"{place.address}/pack/{MANIFEST}")
    with pytest.raises(NotFound, match="which is written last") as caught:
        open_shards(f"{place.address}/pack")
    assert "railcar data pack" in caught.value.hint


def test_packing_anew_that_breaks_off_leaves_the_old_pack_whole(bucket: Place, clouds: pytest.MonkeyPatch) -> None:
    pack_small(bucket)
    clouds.setenv("RAILCAR_RETRY_S", "0")
    other = make_examples(seed=1)
    for n_allowed in range(3):
        bucket.faults.n_allowed = n_allowed
        with pytest.raises(Unreachable):
            pack_small(bucket, other)
        bucket.faults.n_allowed = None
        found = open_shards(f"{bucket.address}/pack").iterate("train")
        assert [one.content for one in found] == [content for _, _, content in make_examples()[:50]]
    pack_small(bucket, other)
    found = open_shards(f"{bucket.address}/pack").iterate("train")
    assert [one.content for one in found] == [content for _, _, content in other[:50]]
    n_shards = sum(entry.key.endswith(".tfrecord") for entry in remote.list_objects(f"{bucket.address}/pack"))
    assert n_shards == sum(map(len, open_shards(f"{bucket.address}/pack").manifest.sides.values()))


def test_a_damaged_shard_is_named_and_gives_no_example(place: Place) -> None:
    shard = pack_small(place).sides["train"][1]
    content = bytearray(remote.read(f"{place.address}/pack/{shard.name}"))
    content[1000] ^= 1
    remote.write(f"{place.address}/pack/{shard.name}", bytes(content))
    with pytest.raises(DataError, match=shard.name):
        list(open_shards(f"{place.address}/pack").iterate("train"))
    whole = open_shards(f"{place.address}/pack").manifest.sides["train"][0].n_examples
    assert len(list(islice(open_shards(f"{place.address}/pack").iterate("train"), whole))) == whole


@pytest.mark.parametrize(
    ("sides", "label", "words"),
    [
        ({"train": 58}, 0, "57 examples, of 58"),
        ({"train": 56}, 0, "more than the 56"),
        ({"train": 57}, 2, "no index of 2 classes"),
    ],
)
def test_other_numbers_than_announced_are_refused(
    tmp_path: Path, sides: dict[str, int], label: int, words: str
) -> None:
    examples = [(id, label or old, content) for id, old, content in make_examples()]
    with pytest.raises(DataError, match=words):
        pack(examples, NAMES, tmp_path / "pack", sides)
    assert not is_pack(tmp_path / "pack")


def test_a_pack_that_was_fetched_is_read_from_the_disk(s3: Place) -> None:
    pack_small(s3)
    folder = fetch_tree(f"{s3.address}/pack")
    assert is_pack(folder)
    before = len(s3.requests)
    assert sum(1 for _ in open_shards(folder).iterate("train")) == 50
    assert len(s3.requests) == before


def test_requests_are_under_way_ahead_of_what_is_taken(s3: Place) -> None:
    contents = [os.urandom(1_500_000) for _ in range(20)]

    def examples() -> Iterator[tuple[str, int, bytes]]:
        yield from ((str(number), number % 2, content) for number, content in enumerate(contents))

    pack(examples(), NAMES, f"{s3.address}/pack", {"train": 20}, shard_bytes=3_000_000)
    source = open_shards(f"{s3.address}/pack")
    before = s3.count("GET")
    stream = source.iterate("train")
    assert next(stream).content == contents[0]
    assert s3.count("GET") - before > 3
    assert [one.content for one in stream] == contents[1:]


def test_a_pack_of_a_newer_form_or_of_something_else_is_refused(tmp_path: Path) -> None:
    for about, words in (
        ({"format": "railcar-shards", "version": 3}, "version 3"),
        ({"format": "other"}, "not the mani"),
    ):
        (tmp_path / MANIFEST).write_text(json.dumps(about))
        with pytest.raises(DataError, match=words):
            open_shards(tmp_path)


def test_an_example_of_another_kind_is_named(tmp_path: Path) -> None:
    pack([("a", 0, b"1")], NAMES, tmp_path, {"train": 1})
    manifest = json.loads((tmp_path / MANIFEST).read_bytes())
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "kind": "row"}))
    with pytest.raises(DataError, match="an example without id, label and row"):
        list(open_shards(tmp_path).iterate("train"))

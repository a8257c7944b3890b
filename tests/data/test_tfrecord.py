from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from railcar.data.detect import FORMS, detect_form
from railcar.data.sources.tfrecord import find_tfds_folder, read_tfds_folder, read_tfrecords
from railcar.data.types import ReadOptions
from railcar.errors import DataError
from railcar.storage.archives import Limits
from railcar.storage.records import compute_crc32c, unpack_records


def make_image(seed: int, shape: tuple[int, ...] = (6, 8, 3)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(image: NDArray[np.uint8], form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, form)
    return file.getvalue()


def write_records(path: Path, examples: list[dict[str, Any]]) -> Path:
    import tensorflow as tf

    def feature(value: Any) -> Any:
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            features = tf.train.Features(feature={key: feature(value) for key, value in example.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())
    return path


def make_examples(n: int, *, first: int = 0) -> list[dict[str, Any]]:
    return [{"image/encoded": encode(make_image(first + i)), "image/class/label": i % 2 + 300} for i in range(n)]


def test_shards_are_sides_by_their_names_and_labels_are_numbers(tmp_path: Path) -> None:
    write_records(tmp_path / "train-00000-of-00002.tfrecord", make_examples(4))
    write_records(tmp_path / "train-00001-of-00002.tfrecord", make_examples(2, first=4))
    write_records(tmp_path / "validation-00000-of-00001.tfrecord", make_examples(2, first=9))
    form, reason = detect_form(tmp_path)
    raw = read_tfrecords(tmp_path)

    assert form == "tfrecord" and reason.endswith("holds 3 TFRecord files")
    assert len(FORMS[form].list_files(tmp_path)) == 3
    assert raw.class_names == ("300", "301")
    assert {side: len(split.labels) for side, split in raw.sides.items()} == {"train": 6, "validation": 2}
    assert raw.sides["train"].ids[5] == "train-00001-of-00002.tfrecord/1"
    np.testing.assert_array_equal(raw.sides["train"].images[5], make_image(5))


def test_one_file_with_labels_in_words(tmp_path: Path) -> None:
    examples = [
        {"image": encode(make_image(i), "JPEG"), "label": i % 2, "label_text": [b"dog", b"cat"][i % 2], "score": 0.5}
        for i in range(4)
    ]
    path = write_records(tmp_path / "test.tfrecords", examples)
    raw = read_tfrecords(path)
    assert detect_form(path)[0] == "tfrecord"
    assert raw.class_names == ("cat", "dog") and raw.sides["train"].labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(("shape", "is_said"), [((6, 6, 1), False), ((4, 9, 3), True)])
def test_plain_pixels_are_read_as_they_are(tmp_path: Path, shape: tuple[int, int, int], is_said: bool) -> None:
    size = dict(zip(("height", "width", "depth"), shape, strict=True)) if is_said else {}
    examples = [{"image_raw": make_image(i, shape).tobytes(), "label": i % 2, **size} for i in range(4)]
    raw = read_tfrecords(write_records(tmp_path / "a.tfrecord", examples))
    np.testing.assert_array_equal(raw.sides["train"].images[3], make_image(3, shape))


def test_bad_images_are_skipped_by_the_name_of_their_record(tmp_path: Path) -> None:
    examples = make_examples(8)
    examples[3]["image/encoded"] = examples[3]["image/encoded"][:60]
    path = write_records(tmp_path / "a.tfrecord", examples)
    raw = read_tfrecords(path, ReadOptions(max_bad=0.2))
    assert any("skipped 1 unreadable: a.tfrecord/3: cut off" in note for note in raw.warnings)
    with pytest.raises(DataError, match=r"a\.tfrecord/3: cut off"):
        read_tfrecords(path)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"label": 1}, "record 0 has no image; it has: label"),
        ({"image": b"xx"}, "record 0 has no label"),
        ({"image": b"xxxxx", "label": 1}, "5 values an example are not a square image"),
        ({"image": b"xxxxxxxx", "label": 1, "height": 2, "width": 2}, "record 0: its image has 8 bytes"),
    ],
)
def test_examples_that_lack_something_are_refused_with_what_they_have(
    tmp_path: Path, example: dict[str, Any], message: str
) -> None:
    other = {**example, "label": 2} if "image" in example and "label" in example else example
    path = write_records(tmp_path / "a.tfrecord", [example, other])
    with pytest.raises(DataError, match=message):
        read_tfrecords(path)


def test_damage_is_said_with_its_place(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.tfrecord", make_examples(4))
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(DataError, match="cut off inside record 3"):
        read_tfrecords(path)
    path.write_bytes(whole + b"12345")
    with pytest.raises(DataError, match="cut off in the header of record 4"):
        read_tfrecords(path)
    damaged = bytearray(whole)
    damaged[-2] ^= 1  # of the sum behind the record: what is parsed may come in any order
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"a\.tfrecord: corrupted record at \d+$"):
        read_tfrecords(path)
    for content, words in ((b"", "an empty file"), (b"hello hello hello", "not a TFRecord"), (b"\x1f\x8b" * 9, "gzip")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=words):
            read_tfrecords(path)


@pytest.mark.parametrize("name", ["train.tfrecord.gz", "train.tfrecord", "train.tfrecord-00000-of-00001.gz"])
def test_a_file_packed_by_gzip_is_read_whatever_its_name_says(tmp_path: Path, name: str) -> None:
    plain = write_records(tmp_path / "plain.tfrecord", make_examples(4))
    packed = tmp_path / "packed" / name
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    raw, again = read_tfrecords(packed), read_tfrecords(plain)
    assert detect_form(packed)[0] == "tfrecord" and detect_form(packed.parent)[0] == "tfrecord"
    np.testing.assert_array_equal(raw.sides["train"].images, again.sides["train"].images)
    assert raw.sides["train"].labels.tolist() == again.sides["train"].labels.tolist()
    assert raw.sides["train"].ids[3] == f"{name}/3"


def test_plain_pixels_packed_by_gzip_are_read_too(tmp_path: Path) -> None:
    images = [make_image(i, (6, 6, 1)) for i in range(4)]
    examples = [{"image_raw": image.tobytes(), "label": i % 2} for i, image in enumerate(images)]
    path = write_records(tmp_path / "plain.tfrecord", examples)
    path.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_tfrecords(path).sides["train"].images, np.stack(images))


def test_packed_records_are_unpacked_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes(gzip.compress(b"one"))
    first = unpack_records(path)
    seen = first.stat().st_mtime_ns
    assert first.name == "a.tfrecord" and first.read_bytes() == b"one"
    assert unpack_records(path) == first and first.stat().st_mtime_ns == seen
    path.write_bytes(gzip.compress(b"another"))
    assert unpack_records(path).read_bytes() == b"another"


def test_packed_records_that_are_cut_off_or_too_many_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord.gz"
    packed = gzip.compress(np.random.default_rng(0).bytes(5000))
    path.write_bytes(packed[:3000])
    with pytest.raises(DataError, match=r"a\.tfrecord\.gz: packed by gzip, and truncated"):
        unpack_records(path)
    path.write_bytes(packed)
    with pytest.raises(DataError, match="unpacks to more than"):
        unpack_records(path, Limits(small_bytes=1000, ratio=0))
    assert unpack_records(path).stat().st_size == 5000


def test_damage_in_a_packed_file_names_that_file(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.tfrecord", make_examples(3))
    damaged = bytearray(path.read_bytes())
    damaged[-2] ^= 1
    path.write_bytes(gzip.compress(bytes(damaged)))
    with pytest.raises(DataError) as caught:
        read_tfrecords(path)
    assert caught.value.what.startswith(f"{path}: corrupted record at ")


def test_the_checksum_is_the_published_one() -> None:
    assert compute_crc32c(b"123456789") == 0xE3069283


def write_tfds(folder: Path) -> Path:
    """As tensorflow-datasets 4.9 does."""
    for split, n in (("train", 4), ("test", 2)):
        examples = [{"image": encode(make_image(i, (5, 5, 1))), "label": i % 2} for i in range(n)]
        write_records(folder / f"toys-{split}.tfrecord-00000-of-00001", examples)
    features = {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {
            "features": {
                "image": {"pythonClassName": "tensorflow_datasets.core.features.image_feature.Image"},
                "label": {"pythonClassName": "tensorflow_datasets.core.features.class_label_feature.ClassLabel"},
            }
        },
    }
    splits = [{"name": name, "shardLengths": [n]} for name, n in (("train", "4"), ("test", "2"), ("extra", "9"))]
    (folder / "features.json").write_text(json.dumps(features))
    (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": "tfrecord", "name": "toys", "splits": splits}))
    (folder / "label.labels.txt").write_text("teddy\ncar\n")
    return folder


def test_a_folder_of_tensorflow_datasets_is_read_without_the_package(tmp_path: Path) -> None:
    write_tfds(tmp_path / "toys" / "1.0.0")
    write_tfds(tmp_path / "toys" / "1.0.10")
    form, reason = detect_form(tmp_path / "toys")
    raw: Any = FORMS[form].read(tmp_path / "toys", ReadOptions())

    assert form == "tfds" and reason == "toys is a set of TensorFlow Datasets: toys 1.0.10"
    assert raw.class_names == ("car", "teddy") and raw.sides["train"].labels.tolist() == [1, 0, 1, 0]
    assert raw.sides["test"].images.shape == (2, 5, 5, 1)
    assert "splits that are not used: extra" in raw.warnings


def test_a_set_without_all_of_its_shards_is_refused(tmp_path: Path) -> None:
    folder = write_tfds(tmp_path)
    assert find_tfds_folder(folder) == folder
    shard = folder / "toys-test.tfrecord-00000-of-00001"
    write_records(shard, [{"image": encode(make_image(1, (5, 5, 1))), "label": 0}])
    with pytest.raises(DataError, match=r"1 examples on the test side, and dataset_info\.json says 2"):
        read_tfds_folder(folder)
    shard.unlink()
    with pytest.raises(DataError, match=r"0 files of the split 'test', and dataset_info\.json says 1"):
        read_tfds_folder(folder)
    (folder / "features.json").write_text('{"featuresDict": {"features": {"text": {"pythonClassName": "x.Text"}}}}')
    with pytest.raises(DataError, match=r"without an image and a class label \(text: Text\)"):
        read_tfds_folder(folder)

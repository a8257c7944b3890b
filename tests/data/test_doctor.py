"""The doctor: each finding, at each level, on data that has the fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from railcar.data.doctor import examine, refuse
from railcar.data.findings import Diagnosis, Finding
from railcar.data.prepare import open_arrays, open_dataset
from railcar.data.selection import Selection
from railcar.errors import DataError
from tests.data.test_duplicates import disturb, make_scenes
from tests.synthetic import make_images, write_image_folder

# What training refuses is passed over, as the check does.
PASSED = Selection(allow_leakage=True)


def find(diagnosis: Diagnosis, code: str) -> Finding:
    """The finding of that code: the only one."""
    found = [one for one in diagnosis.findings if one.code == code]
    assert len(found) == 1, [(one.code, one.what) for one in diagnosis.findings]
    return found[0]


def codes(diagnosis: Diagnosis) -> set[str]:
    return {one.code for one in diagnosis.findings}


def examine_arrays(images: NDArray[np.uint8], labels: NDArray[Any], **options: Any) -> Diagnosis:
    return examine(open_arrays(images, labels, validation=options.pop("validation", 0.1), test=0.2, **options))


def write_sides(folder: Path, train: NDArray[np.uint8], test: NDArray[np.uint8], n_classes: int = 3) -> Path:
    """Images as `<side>/<class>/<number>.png`, classes in turns."""
    for side, images in (("train", train), ("test", test)):
        for number, image in enumerate(images):
            path = folder / side / "abc"[number % n_classes] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)
    return folder


def write_csv(path: Path, head: str, rows: list[str]) -> str:
    path.write_text("\n".join([head, *rows]) + "\n")
    return str(path)


# ---- errors


def test_an_image_on_two_sides_is_an_error_that_names_both(tmp_path: Path) -> None:
    scenes = make_scenes(40)
    source = write_sides(tmp_path / "photos", scenes[:30], np.concatenate([scenes[30:], scenes[6:8]]))
    diagnosis = examine(open_dataset(str(source), selection=PASSED))
    finding = find(diagnosis, "leakage")

    assert finding.level == "error" and not diagnosis.is_usable
    assert finding.what.startswith("2 images of test are in train, too: train/a/6.png and test/b/10.png")
    assert [one.name for one in finding.examples[:2]] == ["train/a/6.png", "test/b/10.png"]
    assert "data.allow_leakage" in finding.hint


def test_leakage_that_is_allowed_is_a_warning(tmp_path: Path) -> None:
    scenes = make_scenes(40)
    source = write_sides(tmp_path / "photos", scenes[:30], np.concatenate([scenes[30:], scenes[6:8]]))
    diagnosis = examine(open_dataset(str(source), selection=PASSED), allow_leakage=True)

    assert find(diagnosis, "leakage").level == "warning"
    assert diagnosis.is_usable


def test_what_training_refuses_is_an_error_in_its_words() -> None:
    images, labels = make_images(60)
    refusal = DataError("photos/3.jpg: cut off", hint="mend it")
    diagnosis = examine(open_arrays(images, labels, test=0.2), refusals=[refusal])

    assert find(diagnosis, "refused") == refuse(refusal)
    assert diagnosis.findings[0] == Finding("error", "refused", "photos/3.jpg: cut off", "mend it")


# ---- warnings


def test_near_duplicates_across_sides_are_named_in_pairs(tmp_path: Path) -> None:
    scenes = make_scenes(40)
    source = write_sides(tmp_path / "photos", scenes[:30], np.concatenate([scenes[30:], disturb(scenes[3:4])]))
    finding = find(examine(open_dataset(str(source))), "near_duplicates")

    assert finding.level == "warning" and finding.n == 1
    assert [one.name for one in finding.examples] == ["train/a/3.png", "test/b/10.png"]


def test_near_duplicates_are_found_between_sides_that_were_drawn_from_one_array() -> None:
    scenes = make_scenes(60)
    images = np.concatenate([scenes, disturb(scenes[:20])])
    diagnosis = examine_arrays(images, np.arange(80) % 2)
    pairs = [(one.split, one.name) for one in find(diagnosis, "near_duplicates").examples]

    assert len(pairs) >= 2
    for (side, name), (other_side, other_name) in zip(pairs[::2], pairs[1::2], strict=True):
        assert side != other_side
        assert abs(int(name.split("/")[1]) - int(other_name.split("/")[1])) == 60


def test_one_image_under_two_labels_is_a_warning_and_no_duplicate_beside() -> None:
    images, labels = make_images(80)
    images[40] = images[41]
    diagnosis = examine_arrays(images, labels)
    finding = find(diagnosis, "conflicting_labels")

    assert finding.level == "warning"
    assert finding.what == "1 image stands under two labels: train/40 (1) and train/41 (2)"
    assert "duplicates" not in codes(diagnosis)


def test_many_copies_are_a_warning_and_a_few_a_note() -> None:
    images, labels = make_images(240)
    images[3] = images[0]
    few = find(examine_arrays(images, labels), "duplicates")
    images[9:21:3] = images[0]
    many = find(examine_arrays(images, labels), "duplicates")

    assert (few.level, few.n) == ("note", 1)
    assert (many.level, many.n) == ("warning", 5)
    assert "data.duplicates" in many.hint


def test_skipped_files_are_a_warning_with_every_one_named(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "photos", n_per_class=40)
    (folder / "a" / "cut.png").write_bytes((folder / "a" / "0.png").read_bytes()[:60])
    bad = {"a/cut.png": "cut off"}
    diagnosis = examine(open_dataset(str(folder), validation=0.1, test=0.1), bad_files=bad)
    finding = find(diagnosis, "bad_files")

    assert finding.level == "warning"
    assert "a/cut.png" in finding.what
    assert finding.details == ("a/cut.png: cut off",)
    assert not any(line.startswith("skipped") for line in diagnosis.seen)


def test_classes_that_differ_in_case_only_are_a_warning(tmp_path: Path) -> None:
    images, _ = make_images(40)
    for number, image in enumerate(images):
        path = tmp_path / "photos" / ("Cat", "cat")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    finding = find(examine(open_dataset(str(tmp_path / "photos"), test=0.2)), "class_names")

    assert finding.level == "warning" and "'Cat' and 'cat'" in finding.what


def test_uneven_classes_are_a_note_and_very_uneven_ones_a_warning() -> None:
    images, _ = make_images(400)
    uneven = np.where(np.arange(400) % 5 == 0, 1, 0)
    very = np.where(np.arange(400) % 20 == 0, 1, 0)
    note, warning = (find(examine_arrays(images, labels), "imbalance") for labels in (uneven, very))

    assert note.level == "note" and "times as many as '1'" in note.what
    assert warning.level == "warning" and "always saying '0' is right 9" in warning.hint


def test_a_class_with_few_examples_is_named() -> None:
    images, labels = make_images(120)
    labels = np.where((labels == 2) & (np.arange(120) > 12), 0, labels)
    finding = find(examine_arrays(images, labels), "few_examples")

    assert finding.level == "warning"
    assert finding.what.startswith("1 class has fewer than 10 training examples: '2' (")


def test_images_of_one_colour_are_a_warning() -> None:
    images, labels = make_images(90)
    images[17] = 200
    finding = find(examine_arrays(images, labels), "blank_images")

    assert finding.level == "warning"
    assert finding.what == "1 image is of one colour all over: train/17"


def test_a_column_that_gives_the_label_away_is_a_warning_with_the_mend(tmp_path: Path) -> None:
    rows = [f"{i * 0.37 % 3:.3f},{'dead' if i % 2 else 'alive'},{i % 2}" for i in range(120)]
    source = write_csv(tmp_path / "t.csv", "size,outcome,label", rows)
    finding = find(examine(open_dataset(source, test=0.2)), "giveaway")

    assert finding.level == "warning" and "'outcome'" in finding.what
    assert "--set 'data.drop=[outcome]'" in finding.hint


def test_a_column_that_is_mostly_empty_is_a_warning_and_one_that_hardly_varies_a_note(tmp_path: Path) -> None:
    rows = [
        f"{i * 0.37 % 3:.3f},{i % 7 if i % 4 == 0 else ''},{'b' if i == 50 else 'a'},{'xy'[i * 7 % 3 % 2]}"
        for i in range(200)
    ]
    source = write_csv(tmp_path / "t.csv", "size,gaps,same,label", rows)
    diagnosis = examine(open_dataset(source, test=0.2))

    empty, same = find(diagnosis, "missing_values"), find(diagnosis, "nearly_constant")
    assert empty.level == "warning" and empty.what == "the column 'gaps' is empty in 150 of 200 rows (75%)"
    assert same.level == "note" and same.what == "the column 'same' is 'a' in 199 of 200 rows"


def test_texts_without_words_and_texts_on_two_sides_are_warnings(tmp_path: Path) -> None:
    rows = [f"message {i} about {'money' if i % 2 else 'love'},{'spam' if i % 2 else 'ham'}" for i in range(100)]
    rows[8] = "?!,ham"
    (tmp_path / "texts").mkdir()
    write_csv(tmp_path / "texts" / "train.csv", "text,label", rows)
    test = ["other words here,ham", rows[3], "MESSAGE 6 about: love,ham"]
    write_csv(tmp_path / "texts" / "test.csv", "text,label", test)
    diagnosis = examine(open_dataset(str(tmp_path / "texts")))

    assert find(diagnosis, "empty_texts").examples[0].name == "train/8"
    leakage, near = find(diagnosis, "leakage"), find(diagnosis, "near_duplicates")
    assert (leakage.level, near.level) == ("warning", "warning") and diagnosis.is_usable
    assert [one.name for one in leakage.examples] == ["train/3", "test/1"]
    assert [one.name for one in near.examples] == ["train/6", "test/2"]


def test_nothing_held_out_is_a_warning() -> None:
    images, labels = make_images(90)

    assert find(examine(open_arrays(images, labels)), "nothing_held_out").level == "warning"


def test_many_wrong_labels_are_a_warning_and_the_suspects_are_named_the_surest_first() -> None:
    images, labels = make_images(300)
    labels[[30, 60, 90, 120, 150, 180]] = 1
    diagnosis = examine_arrays(images, labels)

    assert find(diagnosis, "label_noise").level == "warning"
    names = {one.example.name for one in diagnosis.suspects}
    assert len(names & {f"train/{k}" for k in (30, 60, 90, 120, 150, 180)}) >= 5
    assert all((one.label, one.suggested) == ("1", "0") for one in diagnosis.suspects[:3])
    sure = [one.confidence for one in diagnosis.suspects if one.confidence is not None]
    assert len(sure) == len(diagnosis.suspects) and sure[0] >= sure[-1]


# ---- notes


def test_a_class_that_a_side_lacks_and_a_small_test_side_are_notes() -> None:
    images, labels = make_images(120)
    labels = np.where((labels == 2) & (np.arange(120) > 30), 0, labels)
    diagnosis = examine_arrays(images, labels, validation=3)
    absent = [one for one in diagnosis.findings if one.code == "absent_classes"]

    assert absent and all(one.level == "note" for one in absent)
    assert "points off by chance" in find(diagnosis, "few_held_out").what


def test_long_texts_are_a_note(tmp_path: Path) -> None:
    rows = [f"message {i} about {'money' if i % 2 else 'love'},{'spam' if i % 2 else 'ham'}" for i in range(60)]
    rows[5] = f"{'word ' * 600},spam"
    source = write_csv(tmp_path / "t.csv", "text,label", rows)
    finding = find(examine(open_dataset(source, test=0.2)), "long_texts")

    assert finding.level == "note" and finding.examples[0].name == "train/5"


def test_equal_rows_of_a_table_under_two_labels_are_a_note(tmp_path: Path) -> None:
    rows = [f"{i},{i * 3 % 17},{'xy'[i % 2]}" for i in range(0, 400, 3)] + ["0,0,y"]
    source = write_csv(tmp_path / "t.csv", "a,b,label", rows)

    assert find(examine(open_dataset(source, test=0.2)), "conflicting_labels").level == "note"


# ---- the whole


def test_sound_data_has_no_findings_but_those_on_its_size() -> None:
    images, labels = make_images(300)

    assert codes(examine_arrays(images, labels)) <= {"few_held_out", "absent_classes"}


def test_errors_come_first_and_notes_last(tmp_path: Path) -> None:
    scenes = make_scenes(40)
    source = write_sides(tmp_path / "photos", scenes[:30], np.concatenate([scenes[30:], scenes[6:7]]))
    levels = [one.level for one in examine(open_dataset(str(source), selection=PASSED)).findings]

    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    assert levels[0] == "error" and levels[-1] == "note"


@pytest.mark.parametrize("source", ["penguins", "sms-spam"])
def test_a_diagnosis_is_plain_json_with_stable_keys(source: str) -> None:
    label = {"penguins": "species", "sms-spam": "label"}[source]
    diagnosis = examine(open_dataset(source, label=label, validation=0.1, test=0.1))
    document = json.loads(json.dumps(diagnosis.to_json(), allow_nan=False))

    keys = "source usable form kind task label classes seen counts findings suspects data"
    assert list(document) == keys.split()
    assert document["counts"]["errors"] == 0 and document["usable"] is True
    assert sum(document["data"]["sides"]["train"]["per_class"].values()) == document["data"]["sides"]["train"]["n"]


def test_examples_are_named_by_who_knows_where_they_are() -> None:
    images, labels = make_images(90)
    images[17] = 200
    diagnosis = examine(
        open_arrays(images, labels, test=0.2), name_example=lambda split, index: f"{split}: line {index}"
    )

    assert find(diagnosis, "blank_images").examples[0].name.startswith(("train: line ", "test: line "))

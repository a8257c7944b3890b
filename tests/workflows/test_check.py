"""`check` on real folders and files: what training refuses is told and passed over; each finding names its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from railcar.errors import NotFound, UsageError
from railcar.storage import remote
from railcar.workflows.check import check
from tests.places import Place
from tests.synthetic import make_images, write_image_folder


def write_texts(path: Path, n: int = 60, *, start: int = 0) -> Path:
    lines = [
        f'"a {"cheap offer" if i % 2 else "dear friend"} number {start + i}",{"spam" if i % 2 else "ham"}'
        for i in range(n)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    return path


def test_too_many_bad_files_are_an_error_and_the_rest_is_examined_all_the_same(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "photos")
    for name in ("x.png", "y.png"):
        (folder / "a" / name).write_bytes((folder / "a" / "0.png").read_bytes()[:60])
    (folder / "b" / "text.png").write_text("no image")
    checked = check(folder, quiet=True)
    findings = {one.code: one for one in checked.diagnosis.findings}

    assert not checked.diagnosis.is_usable
    assert "of 39 images cannot be read" in findings["refused"].what and "data.max_bad" in findings["refused"].hint
    assert [line.partition(":")[0] for line in findings["bad_files"].details] == ["a/x.png", "a/y.png", "b/text.png"]
    assert checked.diagnosis.summary is not None
    assert sum(checked.diagnosis.summary.n_examples.values()) == 36


def test_data_that_cannot_be_read_at_all_gives_one_error_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,label\n1,2,x\n1,2,3,y\n")
    checked = check(path, quiet=True)

    assert checked.dataset is None and checked.diagnosis.summary is None
    [finding] = checked.diagnosis.findings
    assert finding.level == "error" and f"{path}: line 3" in finding.what and finding.hint


def test_rows_are_named_by_file_and_line_also_behind_cells_of_several_lines(tmp_path: Path) -> None:
    path = write_texts(tmp_path / "mails.csv")
    lines = path.read_text().splitlines()
    lines[1] = '"a cheap\nand long offer",spam'
    lines[30] = '"?!",ham'
    path.write_text("\n".join(lines) + "\n")
    checked = check(path, quiet=True)
    [empty] = [one for one in checked.diagnosis.findings if one.code == "empty_texts"]

    assert empty.examples[0].name == "mails.csv: line 32"


def test_rows_of_another_source_are_named_by_its_file(tmp_path: Path) -> None:
    train = write_texts(tmp_path / "train" / "mails.csv", 80)
    other = write_texts(tmp_path / "other" / "held.csv", 20, start=10_000)
    lines = other.read_text().splitlines()
    lines[3] = train.read_text().splitlines()[7]
    other.write_text("\n".join(lines) + "\n")
    checked = check(train, overrides=[f"data.test={other}", "data.validation=0.1"], quiet=True)
    [leakage] = [one for one in checked.diagnosis.findings if one.code == "leakage"]

    assert [one.name for one in leakage.examples] == ["mails.csv: line 8", "held.csv: line 4"]


def test_sizes_are_those_of_the_files_not_of_what_is_learnt(tmp_path: Path) -> None:
    images, labels = make_images(40)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / "photos" / "abc"[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).resize((20, 30 if number == 1 else 25)).save(path)
    summary = check(
        tmp_path / "photos", overrides=["data.image_size=[12, 12]", "data.test=null"], quiet=True
    ).diagnosis.summary

    assert summary is not None and summary.shape == (12, 12, 1)
    assert (summary.spreads["height"].low, summary.spreads["height"].high) == (25, 30)
    assert (summary.spreads["width"].low, summary.spreads["width"].high) == (20, 20)


def test_arrays_in_memory_are_checked_as_well() -> None:
    images, labels = make_images(90)
    images[4] = images[1]
    diagnosis = check((images, labels), quiet=True).diagnosis

    assert diagnosis.is_usable
    assert "duplicates" in {one.code for one in diagnosis.findings}


def test_what_is_not_there_and_wrong_words_are_raised(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        check(tmp_path / "nothing", quiet=True)
    with pytest.raises(UsageError, match="unknown key"):
        check("penguins", overrides=["data.nope=1"], quiet=True)


def test_a_regression_is_checked_by_its_targets(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = [
        f"{a:.4f},{b:.4f},{3 * a - b + (40 if i == 7 else 0):.4f}"
        for i, (a, b) in enumerate(generator.normal(size=(200, 2)))
    ]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,price", *rows]) + "\n")
    diagnosis = check(tmp_path / "t.csv", overrides=["data.label=price"], quiet=True).diagnosis

    assert diagnosis.task == "regression"
    assert [one.example.name for one in diagnosis.suspects] == ["t.csv: line 9"]
    assert diagnosis.suspects[0].confidence is None


def test_quiet_says_nothing_of_a_network_that_is_gone(
    google: Place, tmp_path: Path, clouds: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_image_folder(tmp_path / "photos")
    for path in folder.rglob("*.png"):
        remote.write(f"{google.address}/photos/{path.relative_to(folder).as_posix()}", path)
    check(f"{google.address}/photos", quiet=True)
    clouds.setenv("RAILCAR_RETRY_S", "0.2")
    google.faults.n_allowed = 0
    capfd.readouterr()
    assert check(f"{google.address}/photos", quiet=True).dataset is not None
    assert capfd.readouterr().err == ""
    check(f"{google.address}/photos")
    assert "fetched and verified before is used" in " ".join(capfd.readouterr().err.split())

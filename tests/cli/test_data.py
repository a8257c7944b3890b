"""`railcar data ...` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from railcar.cli.main import main
from railcar.registry import DATASETS
from tests.synthetic import write_image_folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_leaking_table(path: Path) -> Path:
    rows = [f"{i * 0.37 % 3:.3f},{'dead' if i % 2 else 'alive'},{i % 2}" for i in range(120)]
    path.write_text("\n".join(["size,outcome,label", *rows]) + "\n")
    return path


# ---- check


def test_check_of_usable_data_ends_with_status_zero_and_names_what_to_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_leaking_table(tmp_path / "t.csv")
    assert main(["data", "check", str(path)]) == 0
    shown = capsys.readouterr().out

    assert "warning  the column 'outcome' may give the label away" in shown
    assert "training would take it" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_check_of_data_that_training_refuses_ends_with_status_one_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,label\n1,2,x\n1,2,3,y\n")
    command = [sys.executable, "-m", "railcar", "data", "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stdout.replace("\n         ", " ").count("line 3: 4 fields where line 1 has 3") == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_check_as_json_is_one_document_also_when_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", "penguins", "--json"]) == 0
    sound = json.loads(capsys.readouterr().out)
    (tmp_path / "t.csv").write_text("a,label\n1.5,x\n2.5,x\n")
    assert main(["data", "check", str(tmp_path / "t.csv"), "--json"]) == 1
    refused = json.loads(capsys.readouterr().out)

    assert sound["usable"] is True and sound["data"]["sides"]["train"]["n"] > 200
    assert refused["usable"] is False and refused["data"] is None
    assert refused["findings"][0]["level"] == "error"
    assert list(sound) == list(refused)


def test_check_needs_no_tensorflow_for_rows_and_images_of_one_size(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "photos")
    code = (
        "import sys; from railcar.cli.main import main; status = main(sys.argv[1:]);"
        "heavy = {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules); sys.exit(status or len(heavy))"
    )
    for source in ("sms-spam", str(folder)):
        done = subprocess.run([sys.executable, "-c", code, "data", "check", source], capture_output=True, timeout=60)

        assert done.returncode == 0, done.stderr


def test_check_takes_label_and_set_as_train_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_leaking_table(tmp_path / "t.csv")
    command = ["data", "check", str(path), "--label", "outcome", "--set", "data.drop=[label]", "--json"]
    assert main(command) == 0
    document = json.loads(capsys.readouterr().out)

    assert document["label"] == "outcome" and document["classes"] == ["alive", "dead"]
    assert [one["name"] for one in document["data"]["columns"]] == ["size"]


def test_check_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "pages" / "check.html"
    assert main(["data", "check", "penguins", "--html", str(page)]) == 0

    assert "Gentoo" in page.read_text()
    assert f"wrote {page}" in capsys.readouterr().err


def test_check_of_what_is_not_there_is_an_error_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "pengins"]) == 1
    shown = capsys.readouterr().err

    assert "error: pengins: no such file" in shown and "did you mean 'penguins'?" in shown


def test_check_of_a_name_that_is_no_text_and_a_wrong_key_are_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_image_folder(tmp_path / "photos", n_per_class=40)
    with open(os.fsencode(folder / "a") + b"/\xff.png", "wb") as file:  # noqa: PTH123  a path of bytes
        file.write((folder / "a" / "0.png").read_bytes())
    page = tmp_path / "check.html"
    assert main(["data", "check", str(folder), "--html", str(page)]) == 0
    shown = capsys.readouterr().out

    assert "\\xff.png" in shown.replace("\\udcff", "\\xff")
    assert page.is_file()
    assert main(["data", "check", "penguins", "--set", "data.lable=x"]) == 2


# ---- prepare, samples


def test_prepare_says_where_and_how_much_and_the_second_time_that_it_was_there(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for _ in range(2):
        assert main(["data", "prepare", "penguins", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
        time.sleep(0.05)

    assert [one["was_there"] for one in found] == [False, True]
    assert found[0]["path"] == found[1]["path"] and Path(found[0]["path"]).parent == cache / "prepared"
    assert found[0]["n_bytes"] > 1000 and sum(found[0]["sides"].values()) == 344
    assert main(["data", "prepare", "penguins"]) == 0
    assert "was there already" in capsys.readouterr().out


def test_samples_tell_which_are_embedded(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cache / "datasets" / "mnist").mkdir(parents=True)
    assert main(["data", "samples", "--json"]) == 0
    found = {one["name"]: one["from"] for one in json.loads(capsys.readouterr().out)}
    assert main(["data", "samples"]) == 0
    shown = capsys.readouterr().out

    assert set(found) == set(DATASETS)
    assert (found["penguins"], found["mnist"], found["cifar10"]) == ("embedded", "fetched", "network")
    assert all(name in shown for name in DATASETS) and max(map(len, shown.splitlines())) <= 80


def test_a_set_that_is_said_to_be_embedded_needs_no_network() -> None:
    embedded = [name for name in DATASETS if DATASETS[name].is_embedded]

    assert embedded
    assert all(DATASETS.load(name)().exists() for name in embedded)


# ---- cache


def test_the_cache_is_listed_and_cleared(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", "penguins", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["data", "cache", "list"]) == 0
    shown = capsys.readouterr().out
    assert "344 rows" in shown and str(cache) in shown
    assert main(["data", "cache", "clear", "--older-than", "30d", "--yes"]) == 0
    assert capsys.readouterr().out == "freed 0 B: 0 entries removed; 1 entry kept\n"
    assert main(["data", "cache", "clear", "--yes", "--json"]) == 0
    cleared = json.loads(capsys.readouterr().out)

    assert cleared["freed_bytes"] > 1000 and cleared["n_kept"] == 0
    assert list((cache / "prepared").iterdir()) == []
    assert main(["data", "cache", "list"]) == 0
    assert "nothing of data" in capsys.readouterr().err


def test_clear_asks_and_without_a_terminal_removes_nothing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", "penguins", "--quiet"]) == 0
    assert main(["data", "cache", "clear"]) == 2

    assert "add --yes" in capsys.readouterr().err
    assert len(list((cache / "prepared").iterdir())) == 1


def test_clear_leaves_alone_what_is_being_built(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    building = cache / "prepared" / ".key.abc"
    building.mkdir(parents=True)
    (building / "train.images.npy").write_bytes(bytes(10))
    assert main(["data", "cache", "clear", "--yes"]) == 0

    assert "1 of them in use or being built" in capsys.readouterr().out
    assert building.is_dir()


@pytest.mark.parametrize("age", ["30", "d", "-1d", "thirty days"])
def test_an_age_without_number_or_unit_is_refused(age: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "cache", "clear", "--older-than", age, "--yes"]) == 2
    assert "30d, 12h, 2w" in capsys.readouterr().err

"""Rows 1 to 66: each bad input, given to `railcar train DATA --dry-run` and to `railcar data check DATA`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from railcar.storage.local import cache_dir
from tests.bad_inputs.commands import Said, check_words, run_apart, run_here, train_words
from tests.bad_inputs.images import encode, with_files, write_photos
from tests.bad_inputs.row import Row, Trial, pattern_of, squeeze
from tests.bad_inputs.table import ROWS

DATA_ROWS = [row for row in ROWS if row.setting is None]
WIDTH = 80


@dataclass(frozen=True)
class Told:
    """What was said of one input: by training, by the check, and by the check as JSON."""

    row: Row
    trial: Trial
    train: Said
    check: Said
    document: dict[str, Any]
    folder: Path

    def holds(self, words: str, text: str) -> bool:
        """Whether `words` are in `text`, however it is folded."""
        return pattern_of(squeeze(words), self.trial).search(squeeze(text)) is not None

    def fits(self, words: str, text: str) -> bool:
        return pattern_of(words, self.trial).fullmatch(text) is not None


@pytest.fixture(scope="module", params=DATA_ROWS, ids=lambda row: row.id)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    row: Row = request.param
    if row.number == 25 and sys.platform != "linux":
        pytest.skip("other systems refuse such names")
    folder = tmp_path_factory.mktemp(f"row-{row.number}-")
    with row.trial(folder) as trial:
        train = run_here(train_words(row, trial), trial)
        check = run_here(check_words(row, trial), trial)
        document = json.loads(run_here(check_words(row, trial, "--json"), trial).out)
        yield Told(row, trial, train, check, document, folder)


def test_training_ends_as_promised_with_the_exact_words(told: Told) -> None:
    row, said = told.row, told.train
    if row.error:
        assert said.status == 1
        assert told.fits(f"error: {row.error}\nhint: {row.hint}\n", said.err), said.err
        assert said.out == ""
        return
    assert said.status == 0, said.err
    missing = [note for note in row.notes if not told.holds(note, said.err)]
    assert missing == [], said.err


def test_without_a_dry_run_it_is_refused_in_the_same_words_before_anything_is_written(told: Told) -> None:
    if not told.row.error:
        assert told.row.outcome != "R"
        return
    runs = told.folder / "runs"
    words = [word for word in train_words(told.row, told.trial) if word != "--dry-run"]
    said = run_here([*words, "--runs-dir", str(runs)], told.trial)

    assert (said.status, said.err) == (1, told.train.err)
    assert not runs.exists()


def test_the_check_finds_the_same_and_nothing_else(told: Told) -> None:
    row, document = told.row, told.document
    found = [one for one in document["findings"] if one["level"] != "note"]

    assert told.check.status == (1 if row.is_refused_by_check else 0)
    assert document["usable"] is not row.is_refused_by_check
    assert [one["level"] for one in found] == [level for level, _, _ in row.checked], found
    for one, (_, what, hint) in zip(found, row.checked, strict=True):
        assert told.fits(what, one["what"]) and told.fits(hint, one["hint"]), one
        assert told.holds(f"{one['level']} {what} > {hint}", told.check.out), told.check.out
    lines = [*document["seen"], *(one["what"] for one in found)]
    assert row.findings or all(any(told.fits(note, line) for line in lines) for note in row.notes), lines


def test_what_is_left_to_learn_from_is_right(told: Told) -> None:
    row, document = told.row, told.document
    if document["data"] is None:
        assert row.is_refused_by_check
        return
    assert row.n is None or sum(side["n"] for side in document["data"]["sides"].values()) == row.n
    assert tuple(document["classes"]) == row.classes


def test_of_what_is_right_nothing_is_said(told: Told) -> None:
    if told.row.outcome != "OK":
        assert told.row.named
        return
    assert tuple(told.document["seen"]) == told.row.notes
    block = re.escape(squeeze("".join(told.row.notes)))
    assert re.search(f"(gray|RGB|columns){block}(input|model)", squeeze(told.train.err)), told.train.err


def test_both_name_the_file_or_the_line(told: Told) -> None:
    assert told.holds(told.row.named, told.train.err), told.train.err
    assert told.holds(told.row.named, told.check.all), told.check.all


def test_no_output_is_a_traceback_or_wider_than_a_terminal(told: Told) -> None:
    assert "Traceback" not in told.train.all + told.check.all
    assert told.check.err == ""
    folded = [line for line in told.train.err.splitlines() if not line.startswith(("error: ", "hint: "))]
    wide = [
        line for line in [*folded, *told.check.out.splitlines()] if len(line) > WIDTH and told.trial.data not in line
    ]
    assert wide == []


def test_nothing_is_unpacked_unpickled_or_left_of_what_is_refused(told: Told) -> None:
    kept = cache_dir() / "unpacked"
    assert {path.name for path in told.folder.iterdir()} == {told.row.data}
    if told.row.number in (65, 66):
        assert not kept.exists() or list(kept.iterdir()) == []
    assert not Path("/tmp/evil.png").exists()


# ---- beyond the rows


def test_more_unreadable_images_than_max_bad_are_refused_with_the_first_and_their_number(tmp_path: Path) -> None:
    data = tmp_path / "photos"
    with_files({f"cat/x{number}.jpg": b"" for number in range(3)})(data)
    said = run_here(["train", str(data), "--dry-run"], Trial(str(data)))

    assert said.status == 1
    assert said.err == (
        "error: cat/x0.jpg: an empty file; 3 of 103 images cannot be read\n"
        "hint: mend or remove them, or set data.max_bad to 0.03\n"
    )


def test_gaps_are_counted_in_the_report(tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.number == 55)
    with row.trial(tmp_path) as trial:
        document = json.loads(run_here(check_words(row, trial, "--json"), trial).out)

    assert {one["name"]: one["n_missing"] for one in document["data"]["columns"]} == {"width": 30, "height": 0}


def test_an_image_on_two_sides_is_accepted_when_it_is_allowed(tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.number == 28)
    with row.trial(tmp_path) as trial:
        said = run_here([*train_words(row, trial), "--set", "data.allow_leakage=true"], trial)

    assert said.status == 0, said.err
    assert squeeze("1 of the 21 test examples is known from train") in squeeze(said.err)


def test_a_strange_file_among_sound_ones_changes_no_other_example(tmp_path: Path) -> None:
    """Rows 8 to 15: what is beside it is on the side that it was on."""
    sides = []
    for name, files in (("plain", {}), ("with", {"cat/x.jpg": encode("PNG")})):
        data = tmp_path / name / "photos"
        write_photos(data) if not files else with_files(files)(data)
        out = run_here(["data", "check", str(data), "--json"], Trial(str(data))).out
        sides.append({side: one["n"] for side, one in json.loads(out)["data"]["sides"].items()})
    assert sum(sides[1].values()) == sum(sides[0].values()) + 1
    assert all(sides[1][side] - sides[0][side] in (0, 1) for side in sides[0])


@pytest.mark.parametrize("number", [17, 31, 59, 61, 65])
def test_as_a_process_of_its_own_it_says_the_same_with_the_same_status(number: int, tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.number == number)
    with row.trial(tmp_path) as trial:
        train = run_apart(train_words(row, trial), trial, tmp_path)
        check = run_apart(check_words(row, trial), trial, tmp_path)
        expected = pattern_of(f"error: {row.error}\nhint: {row.hint}\n", trial)

    assert (train.status, train.out, check.status, check.err) == (1, "", 1, "")
    assert expected.fullmatch(train.err), train.err
    assert pattern_of(squeeze(f"error {row.error} > {row.hint}"), trial).search(squeeze(check.out)), check.out

"""What a listing reads of metrics.jsonl."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from railcar.runs.glimpse import Glimpse, read_glimpse, spread

FILLER = "x" * 150


def write_rows(path: Path, n: int, *, validate_every: int, key: str = "val_accuracy") -> None:
    lines = []
    for step in range(1, n + 1):
        row = {"step": step, "loss": 1 / step, "filler": FILLER}
        if validate_every and step % validate_every == 0:
            row |= {"val_loss": 2 / step, key: step / n}
        lines.append(json.dumps(row))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("key", ["val_accuracy", "val_mae", "val_loss"])
def test_a_glimpse_has_the_last_step_the_last_validation_and_all_of_few_values(tmp_path: Path, key: str) -> None:
    write_rows(tmp_path / "m", 103, validate_every=10, key=key)
    seen = read_glimpse(tmp_path / "m")

    assert (seen.step, seen.validation["step"], seen.curve_of) == (103, 100, key)
    assert seen.curve == tuple(step / 103 for step in range(10, 101, 10))


def test_of_many_values_twelve_are_spread_over_the_run(tmp_path: Path) -> None:
    write_rows(tmp_path / "m", 2000, validate_every=1)
    seen = read_glimpse(tmp_path / "m")

    assert len(seen.curve) == 12
    assert seen.curve[-1] == 1.0
    gaps = [later - earlier for earlier, later in zip(seen.curve, seen.curve[1:], strict=False)]
    assert max(gaps) < 2 * min(gaps)


def test_without_validation_the_curve_is_the_loss(tmp_path: Path) -> None:
    write_rows(tmp_path / "m", 300, validate_every=0)
    seen = read_glimpse(tmp_path / "m")

    assert (seen.curve_of, seen.validation) == ("loss", {})
    assert seen.curve == tuple(sorted(seen.curve, reverse=True))


def test_a_long_file_is_read_in_parts_and_its_end_is_among_them(tmp_path: Path) -> None:
    write_rows(tmp_path / "m", 100_000, validate_every=400)
    began = time.perf_counter()
    seen = read_glimpse(tmp_path / "m")

    assert time.perf_counter() - began < 0.5  # 0.002 s on a quiet machine
    assert (seen.step, seen.validation["step"], len(seen.curve)) == (100_000, 100_000, 12)


@pytest.mark.parametrize(
    "content", ["", "{", '{"step": 3, "loss"', "\n\n\n", "[1]\n", '"val_accuracy"\n', '{"step": "a"}\n']
)
def test_what_is_no_row_is_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "m").write_text(content)

    assert read_glimpse(tmp_path / "m") == Glimpse()
    assert read_glimpse(tmp_path / "absent") == Glimpse()


def test_a_cut_last_line_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "m").write_text('{"step": 3, "val_accuracy": 0.5}\n{"step": 4, "val_accu')
    seen = read_glimpse(tmp_path / "m")

    assert (seen.step, seen.curve) == (3, (0.5,))


@pytest.mark.parametrize("n", [1, 2, 11, 12, 13, 1000])
def test_spreading_keeps_the_first_and_the_last(n: int) -> None:
    spaced = spread(list(range(n)))

    assert (spaced[0], spaced[-1], len(spaced)) == (0, n - 1, min(n, 12))
    assert len(set(spaced)) == len(spaced)

"""The live view: what it shows, and how it is drawn."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from railcar.training.live import Line, Pace, Region, TrainingView
from tests.terminal import Screen, set_size


def text_of(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def make_view(n_rows: int = 60, *, score: str = "accuracy") -> TrainingView:
    """A training of 1000 steps of which 10 a row are done, 20 steps a second."""
    view = TrainingView(n_steps=1000, noun="rows")
    for row in range(1, n_rows + 1):
        view.advance(row * 10, at_s=row * 0.5)
        view.update(row * 10, {"loss": 1 / row, score: 0.5, "examples_per_s": 1234.0})
        if row % 20 == 0:
            values = {"val_loss": 1.1 / row, f"val_{score}": 0.75}
            view.validate(row * 10, values, is_best=row == 20)
    return view


def test_the_view_has_bar_numbers_validations_and_curve() -> None:
    bar, facts, last, best, *curve = text_of(make_view().build_lines(79, 23))

    assert (bar.count("━"), bar.count("─")) == (35, 23)
    assert bar.endswith(" 600/1,000  60%")
    assert facts == "      loss 0.0167  accuracy 50.00%  20 s left  1,234 rows/s"
    assert last == "val   loss 0.0183  accuracy 75.00%  at step 600"
    assert best == "best  loss 0.0550  accuracy 75.00%  at step 200"
    assert len(curve) == 7
    assert curve[-1].strip() == "⠤ training  • validation  loss of steps 10 to 600"


def test_a_regression_shows_its_mae() -> None:
    assert "mae 0.5 " in "\n".join(text_of(make_view(score="mae").build_lines(79, 23)))


@pytest.mark.parametrize("columns", [1, 10, 25, 40, 50, 79, 300])
@pytest.mark.parametrize("rows", [1, 3, 8, 23])
def test_the_view_fits_into_any_terminal(columns: int, rows: int) -> None:
    view = make_view()
    for lines in (view.build_lines(columns, rows), view.build_last_lines(columns, rows)):
        assert len(lines) <= rows
        assert all(len(line) <= columns for line in text_of(lines))


def test_at_forty_columns_steps_loss_and_score_are_still_told() -> None:
    bar, facts, *_ = text_of(make_view().build_lines(39, 23))

    assert "━" in bar
    assert "600/1,000" in bar
    assert "loss 0.0167  accuracy 50.00%" in facts


def test_before_the_first_step_the_view_says_that_it_is_compiled() -> None:
    view = TrainingView(n_steps=10)

    assert "compiling the first step" in text_of(view.build_lines(79, 23))[1]


def test_what_is_not_known_is_left_out() -> None:
    view = TrainingView(n_steps=10)
    view.advance(5)
    view.update(5, {"loss": None, "accuracy": None, "examples_per_s": None})
    view.validate(5, {"val_loss": None}, is_best=False)

    assert len(view.build_lines(79, 23)) == 3


def test_steps_that_one_call_has_made_say_nothing_of_the_pace() -> None:
    pace = Pace(100)
    for step in (1, 2, 3, 4):
        pace.note(step, 5.0 + step / 1000)
    assert pace.left_s() is None
    pace.note(14, 15.0)

    assert pace.left_s() == pytest.approx(86, rel=0.01)
    assert pace.left_s(since_s=80) == pytest.approx(6, rel=0.1)


@contextmanager
def terminal(columns: int) -> Iterator[tuple[int, int]]:
    """Our end and the other end of a terminal."""
    leader, follower = os.openpty()
    set_size(follower, columns)
    try:
        yield leader, follower
    finally:
        os.close(leader)


def read_all(leader: int) -> str:
    """What has come, once it comes no more."""
    content = os.read(leader, 4096)
    while select.select([leader], [], [], 0.05)[0]:
        content += os.read(leader, 4096)
    return content.decode()


def test_only_lines_that_have_changed_are_written_again() -> None:
    shown = ["first", "same", "last"]
    with terminal(40) as (leader, follower), os.fdopen(follower, "w") as stream:
        screen = Screen()
        region = Region(stream, lambda width, height: [[(text, "")] for text in shown], color=False)
        region.start()
        screen.feed(read_all(leader))
        assert str(screen) == "first\nsame\nlast"
        shown[0] = "other"
        drawn = read_all(leader)
        screen.feed(drawn)
        assert str(screen) == "other\nsame\nlast"
        assert "same" not in drawn
        with region.aside():
            stream.write("a line\n")
            stream.flush()
        region.stop(lambda width, height: [[("it stays", "")]])
        screen.feed(read_all(leader))

    assert str(screen) == "a line\nit stays"


@pytest.mark.parametrize(("version", "n_up"), [(None, 4), ("XTerm(390)", 2)])
def test_a_terminal_that_became_narrower_is_drawn_over_where_it_has_folded(
    monkeypatch: pytest.MonkeyPatch, version: str | None, n_up: int
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.delenv("XTERM_VERSION", raising=False)
    if version:
        monkeypatch.setenv("XTERM_VERSION", version)
    with terminal(60) as (leader, follower), os.fdopen(follower, "w") as stream:
        region = Region(stream, lambda width, height: [[("x" * width, "")], [("y" * width, "")]], color=False)
        region.start()
        read_all(leader)
        set_size(leader, 35)
        drawn = read_all(leader)
        region.stop(lambda width, height: [])

    assert drawn.startswith(f"\x1b[{n_up}A\r{'x' * 34}\x1b[K")


def test_a_terminal_that_was_closed_ends_no_training() -> None:
    with terminal(60) as (_, follower):
        stream = os.fdopen(follower, "w")
    region = Region(stream, lambda width, height: [[("x", "")]], color=False)
    region.start()
    region.stop(lambda width, height: [])
    with pytest.raises(OSError):
        stream.close()

    assert stream.closed

"""Curves in characters."""

from __future__ import annotations

import math

import pytest

from railcar.training.curve import Series, draw_curve


def draw(train: list[tuple[float, float]], validation: list[tuple[float, float]] = [], **how: object) -> list[str]:  # noqa: B006
    lines = draw_curve(train, validation, **{"width": 40, "height": 5, **how})  # type: ignore[arg-type]
    return ["".join(text for text, _ in line) for line in lines]


def test_a_falling_line_goes_from_the_upper_left_to_the_lower_right() -> None:
    lines = draw([(step, 2.0 - step / 100) for step in range(101)], is_ascii=True)
    columns = [line.split("+")[-1].split("|")[-1].find(".") for line in lines]

    assert columns == sorted(columns)
    assert (columns[0], len(lines[-1])) == (0, 40)
    assert [line.split()[0] for line in (lines[0], lines[2], lines[-1])] == ["2", "1.5", "1"]


def test_values_that_span_factors_are_drawn_by_factors() -> None:
    [top, _, middle, _, bottom] = draw([(step, math.exp(-step / 20)) for step in range(101)])

    assert [float(line.split()[0]) for line in (top, middle, bottom)] == pytest.approx(
        [1, math.exp(-2.5), math.exp(-5)], rel=0.01
    )


def test_no_line_is_wider_than_asked_and_validations_stand_out() -> None:
    train = [(float(step), 1.0 + math.sin(step)) for step in range(500)]
    for width in (16, 40, 79, 200):
        lines = draw(train, [(250, 1.0), (499, 1.5)], width=width, height=6)
        assert max(map(len, lines)) <= width
        assert "".join(lines).count("•") == 2


@pytest.mark.parametrize("values", [[], [1.0], [math.nan, math.inf, 2.0]])
def test_less_than_two_points_are_no_curve(values: list[float]) -> None:
    series = Series()
    for step, value in enumerate(values):
        series.add(step, value)

    assert draw(series.points) == []


@pytest.mark.parametrize(
    "values", [[3.0] * 9, [0.0] * 9, [-5.0] * 9, [-1.0, 0.0, 1.0], [1e-300, 1e300], [-1e308, 1e308]]
)
def test_strange_values_are_drawn_too(values: list[float]) -> None:
    assert len(draw([(float(step), value) for step, value in enumerate(values)])) == 5


def test_a_series_stays_bounded_and_keeps_its_course() -> None:
    series = Series(most=64)
    for step in range(10_000):
        series.add(step, float(step))

    assert 32 <= len(series.points) < 64
    assert all(abs(value - step) < 400 for step, value in series.points)
    assert [step for step, _ in series.points] == sorted(step for step, _ in series.points)

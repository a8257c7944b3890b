"""Charts with axes: where points stand, which ticks are chosen, and that no spike is lost."""

from __future__ import annotations

import math
import re

import pytest

from railcar.reporting.charts import Axis, Line, draw_bars, draw_dots, draw_lines, spell_share, spell_tick

X, Y = Axis("step", 0.0, 10.0), Axis("loss", 0.0, 2.0)


def points_of(chart: str) -> list[tuple[float, float]]:
    found = re.search(r'<polyline class="stroke0[^"]*" points="([^"]*)"', chart)
    assert found is not None
    return [tuple(map(float, pair.split(","))) for pair in found[1].split()]  # pyright: ignore[reportReturnType]


def test_a_line_goes_from_its_lower_left_to_its_upper_right():
    chart = draw_lines([Line("train", [(0, 0), (5, 1), (10, 2)])], x=X, y=Y, title="a loss")
    assert points_of(chart) == [(0, 1000), (500, 500), (1000, 0)]
    assert 'aria-label="a loss"' in chart
    assert "train" in chart


def test_ticks_are_round_numbers_within_the_range():
    chart = draw_lines([Line("", [(0, 0), (10, 2)])], x=X, y=Y, title="")
    beside = re.findall(r'<span style="bottom:([\d.]+)%">([^<]+)</span>', chart)
    assert [text for _, text in beside] == ["0", "0.5", "1", "1.5", "2"]
    assert [float(place) for place, _ in beside] == [0, 25, 50, 75, 100]


def test_a_logarithmic_axis_places_decades_evenly_and_leaves_out_what_has_no_logarithm():
    y = Axis("loss", is_log=True)
    line = Line("", [(0, 100.0), (5, 0.0), (5, 1.0), (10, 0.01)], marked=(5, 0.0))
    chart = draw_lines([line], x=X, y=y, title="")
    top, middle, bottom = [place for _, place in points_of(chart)]
    assert middle - top == pytest.approx(bottom - middle, abs=1)
    assert {"0.01", "1", "100"} & set(re.findall(r'%">([^<]+)</span>', chart))


def test_of_ten_thousand_points_the_one_spike_is_drawn():
    points = [(float(step), 100.0 if step == 6_543 else math.sin(step)) for step in range(10_000)]
    drawn = points_of(draw_lines([Line("", points)], x=Axis("step"), y=Axis("loss"), title=""))
    assert len(drawn) <= 420
    heights = sorted(place for _, place in drawn)
    assert heights[0] < 60 < 900 < heights[1]


@pytest.mark.parametrize("points", [[], [(0.0, math.nan)], [(math.inf, 1.0)]])
def test_what_has_no_point_is_no_chart(points: list[tuple[float, float]]):
    assert draw_lines([Line("a", points)], x=X, y=Y, title="") == ""
    assert draw_dots(points, x=X, y=Y, title="") == ""
    assert draw_bars([], x=X, y=Y, title="") == ""


def test_a_constant_line_and_a_single_point_are_drawn_inside():
    flat = draw_lines([Line("", [(0, 3.0), (10, 3.0)])], x=X, y=Axis("loss"), title="")
    assert {place for _, place in points_of(flat)} == {500}
    assert "h0" in draw_lines([Line("", [(1, 1)])], x=X, y=Y, title="")


def test_bars_are_as_high_as_their_counts_and_missing_bins_are_empty():
    chart = draw_bars([(0, 1, 10), (3, 4, 5)], x=Axis("error"), y=Axis("rows"), title="errors")
    bars = [tuple(map(float, one)) for one in re.findall(r'y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', chart)]
    assert len(bars) == 2
    assert bars[0][1] == pytest.approx(2 * bars[1][1], abs=1)
    assert all(top + height == pytest.approx(1000) for top, height in bars)


def test_names_from_data_are_escaped():
    chart = draw_lines([Line("<b>x", [(0, 0), (1, 1)])], x=Axis("<i>"), y=Y, title='"><script>')
    assert "<b>" not in chart
    assert "<i>" not in chart.replace('<i class="fill0">', "")
    assert "<script>" not in chart


@pytest.mark.parametrize(("value", "text"), [(1500, "1,500"), (0.25, "0.25"), (1e-5, "1e-05"), (12345678, "1.235e+07")])
def test_ticks_are_short(value: float, text: str):
    assert spell_tick(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0%"), (1, "100%"), (0.975, "97.5%"), (0.9998, "99.98%")])
def test_shares_are_percent(value: float, text: str):
    assert spell_share(value) == text

"""The page of `runs compare` in a real browser without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from railcar.reporting.compare_page import render_comparison
from tests.browser.pages import find_violations, show
from tests.reporting.test_compare_page import make_comparison, make_pair, make_run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.mark.parametrize("n_runs", [2, 9])
def test_runs_side_by_side_hinder_nobody_at_every_width_and_in_both_colours(
    browser: Chrome, axe: str, tmp_path: Path, n_runs: int
):
    runs = [make_run(f"a-run-with-a-long-name-20261130-{at}", 0.95 - at / 50) for at in range(n_runs)]
    pairs = [make_pair(0, at, 45, 5, is_real=at % 2 == 1) for at in range(1, n_runs)]
    page = tmp_path / "compare.html"
    page.write_text(render_comparison(runs, make_comparison(runs, pairs)))
    for width, scheme in ((1280, "light"), (390, "light"), (390, "dark")):
        show(browser, page, width=width, scheme=scheme)
        assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
        assert find_violations(browser, axe) == []
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    heads = [one.text for one in browser.find_elements("tag name", "h2")]
    assert heads == ["Is one better?", "Metrics", "Curves", "What differs in their recipes", "Each class"]

"""The page of `railcar data check` in a real browser, without a network: at a desk and on a phone, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from railcar.cli.main import main
from tests.browser.pages import show
from tests.synthetic import write_image_folder

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.mark.parametrize("source", ["penguins", "sms-spam", "photos"])
def test_the_page_is_whole_at_every_width_and_in_both_colours(browser: Chrome, source: str, tmp_path: Path) -> None:
    data = str(write_image_folder(tmp_path / "photos")) if source == "photos" else source
    page = tmp_path / "check.html"
    assert main(["data", "check", data, "--html", str(page), "--quiet"]) == 0
    grounds = set()
    for width, scheme in ((1280, "light"), (390, "light"), (390, "dark")):
        show(browser, page, width=width, scheme=scheme)

        # no wider than the window: what is wide scrolls in its own frame
        assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
        assert source in browser.title
        broken = "return [...document.images].filter(one => !one.complete || !one.naturalWidth).length"
        browser.execute_script("[...document.images].forEach(one => one.loading = 'eager')")
        assert browser.execute_async_script(
            "const done = arguments[0];"
            "Promise.all([...document.images].map(one => one.decode().catch(() => 0))).then(() => done(1))"
        )
        assert browser.execute_script(broken) == 0
        grounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []

    assert len(grounds) == 2
    text = browser.execute_script("return document.body.innerText")
    assert all(word in text for word in ("Findings", "Examples", "Samples", "What was seen"))

"""The picture of a preprocessing in a real browser: no words leave it or lie upon others, light or dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from railcar.reporting.flow import draw_flow
from tests.reporting.test_preprocessing import IMAGE, SOLD, TEXT, TOWN, describe, make_number, make_recipe, make_table

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BOXES = """
return [...document.querySelectorAll("text")].map(one => {
  const box = one.getBoundingClientRect();
  return [one.textContent, box.left, box.top, box.right, box.bottom];
});
"""
WIDE = [{**TOWN, "name": "W" * 40, "values": ["MMMMMMMM"] * 900}, make_number("列" * 40, has_gaps=True), SOLD]
FLOWS = {
    "image": describe(
        IMAGE, make_recipe(augment={"flip": True, "shift": 0.1, "rotate": 0.1, "zoom": 0.1, "cutout": 0.2})
    ),
    "text": describe(TEXT),
    "table": describe(make_table(WIDE, 8, **{"NAME" * 20: "9,999 different values in 10,000 rows, like an id"})),
}


@pytest.mark.parametrize("kind", FLOWS)
def test_words_stay_inside_and_apart(browser: Chrome, kind: str, tmp_path: Path) -> None:
    page = tmp_path / "preprocessing.svg"
    page.write_text(draw_flow(FLOWS[kind]), encoding="utf-8")
    colors = set()
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get(page.as_uri())
        boxes = browser.execute_script(BOXES)
        right = browser.execute_script("return document.querySelector('.ground').getBoundingClientRect().right")

        assert len(boxes) > 10
        assert [words for words, _, _, end, _ in boxes if end > right - 24] == []
        for number, (words, left, top, end, bottom) in enumerate(boxes):
            for other, left_, top_, end_, bottom_ in boxes[number + 1 :]:
                is_apart = end <= left_ or end_ <= left or bottom <= top_ + 2 or bottom_ <= top + 2
                assert is_apart, f"{words!r} lies upon {other!r}"
        colors.add(browser.execute_script("return getComputedStyle(document.querySelector('.ground')).fill"))
    assert len(colors) == 2

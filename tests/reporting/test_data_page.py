"""The page of a diagnosis: it holds what was found, asks for nothing else, and what data says is text, not code."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from railcar.data.doctor import examine
from railcar.data.findings import Diagnosis, Finding
from railcar.data.prepare import open_arrays, open_dataset
from railcar.data.summary import spread_of
from railcar.reporting.data_page import render_data_page
from railcar.reporting.svg import draw_histogram, draw_stacked_bar
from railcar.reporting.thumbnails import MAX_SIDE, draw_thumbnail
from tests.synthetic import make_images

VOID = {"meta", "img", "rect", "wbr", "br"}


class Balance(HTMLParser):
    """Every element that is opened is closed, in order; the addresses that are asked for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def render(source: str, label: str) -> tuple[str, Diagnosis]:
    dataset = open_dataset(source, label=label, validation=0.1, test=0.1)
    diagnosis = examine(dataset)
    return render_data_page(diagnosis, dataset), diagnosis


def check_page(page: str) -> None:
    balance = Balance(page)
    assert balance.faults == [] and balance.open == []
    assert all(one.startswith("data:image/") for one in balance.addresses)
    assert "<script" not in page and "@import" not in page and "url(" not in page


def test_a_table_is_shown_with_rows_and_columns() -> None:
    page, _ = render("penguins", "species")

    check_page(page)
    for word in ("Gentoo", "bill_length_mm", "Samples", "Columns", "training would take it", "missing"):
        assert word in page
    assert page.count("<svg") >= 3 + 5


def test_texts_are_shown_with_their_classes_and_labels_in_doubt() -> None:
    page, diagnosis = render("sms-spam", "label")

    check_page(page)
    assert diagnosis.suspects and diagnosis.suspects[0].example.name in page
    assert "Labels in doubt" in page and "Words in a text" in page


def test_images_are_shown_for_each_class_and_each_finding() -> None:
    images, labels = make_images(200)
    images[17] = 200
    images[5] = images[2]
    dataset = open_arrays(images, labels, test=0.2)
    diagnosis = examine(dataset)
    page = render_data_page(diagnosis, dataset)

    check_page(page)
    n_of_findings = sum(min(len(one.examples), 12) for one in diagnosis.findings if one.code != "label_noise")
    assert page.count("<img") == 3 * 10 + n_of_findings + len(diagnosis.suspects)


def test_what_the_data_says_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    rows = [f'"{evil} {"good" if i % 2 else "bad"} {i}","{"<b>yes" if i % 2 else "no&"}"' for i in range(80)]
    rows += [rows[0]] * 9
    (tmp_path / "<img src=x>.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    dataset = open_dataset(str(tmp_path / "<img src=x>.csv"), test=0.2)
    page = render_data_page(examine(dataset), dataset)

    check_page(page)
    assert "&lt;script&gt;alert(1)" in page and "&lt;b&gt;yes" in page and "&lt;img src=x&gt;.csv" in page


def test_data_that_was_refused_has_a_page_of_its_errors() -> None:
    page = render_data_page(
        Diagnosis("t.csv", findings=(Finding("error", "refused", "line 3 <cut>", "mend it"),)), None
    )

    check_page(page)
    assert "line 3 &lt;cut&gt;" in page and "mend it" in page and "training would refuse it" in page


@pytest.mark.parametrize(
    ("side", "channels", "kind"), [(28, 1, "PNG"), (32, 3, "PNG"), (200, 3, "JPEG"), (90, 1, "JPEG")]
)
def test_a_thumbnail_is_a_picture_of_the_image(side: int, channels: int, kind: str) -> None:
    image = np.full((side, side, channels), 40, np.uint8)
    image[: side // 2] = 200
    tag = draw_thumbnail(image, alt='"><script>')
    content = re.search(r"base64,([^\"]+)", tag)
    assert content is not None
    with Image.open(io.BytesIO(base64.b64decode(content[1]))) as picture:
        pixels = np.asarray(picture.convert("L"))

        assert picture.format == kind and max(picture.size) <= MAX_SIDE
    assert abs(int(pixels[1, 1]) - 200) < 6 and abs(int(pixels[-2, -2]) - 40) < 6
    assert "<script>" not in tag


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    bars = re.findall(r'x="([\d.]+)".*? width="([\d.]+)"', draw_stacked_bar([10, 30], 80, title="a"))
    heights = re.findall(r' height="([\d.]+)"', draw_histogram(spread_of(np.array([0, 1, 1, 1, 1])), title="b"))

    assert [(float(at), float(width)) for at, width in bars] == [(0, 12.5), (12.5, 37.5)]
    assert float(heights[1]) == pytest.approx(4 * float(heights[0]), rel=0.01)

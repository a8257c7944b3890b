"""report.html of an image, a text, a table and a regression run, in a real browser without a network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import railcar
from railcar.cli.main import main
from tests.browser.pages import find_violations, show

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

KINDS: dict[str, dict[str, Any]] = {
    "image": {
        "data.source": "mnist-sample",
        "data.limit_per_class": 60,
        "training.steps": 12,
        "training.batch_size": 64,
    },
    "text": {"data.source": "sms-spam", "training.steps": 12},
    "table": {"data.source": "penguins", "training.steps": 20},
    "regression": {"data.source": "penguins", "data.label": "body_mass_g", "training.steps": 20},
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages that four trainings wrote at their ends."""
    folder = tmp_path_factory.mktemp("report")
    found = {}
    for kind, overrides in KINDS.items():
        data = overrides["data.source"]
        rest = {key: value for key, value in overrides.items() if key != "data.source"}
        run = railcar.train(data, overrides=rest, name=kind, runs_dir=folder, quiet=True)
        found[kind] = run.path / "report.html"
    return found


PARTS = {
    "image": ["What to do next", "Data", "Training", "What is confused", "Each class", "The worst mistakes"],
    "text": ["Data", "Training", "What is confused", "Each class", "Can its probabilities be believed?"],
    "table": ["Data", "Training", "Which columns count", "Choices, and their reasons"],
    "regression": ["What it says, and what is right", "The worst mistakes", "Which columns count"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_is_whole_and_hinders_nobody_at_every_width_and_in_both_colours(
    browser: Chrome, pages: dict[str, Path], kind: str, axe: str
):
    grounds = set()
    for width, scheme in ((1280, "light"), (390, "light"), (390, "dark")):
        show(browser, pages[kind], width=width, scheme=scheme)
        assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
        broken = browser.execute_script(
            "return [...document.images].filter(one => one.complete && !one.naturalWidth).length"
        )
        assert broken == 0
        assert find_violations(browser, axe) == []
        grounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert len(grounds) == 2
    heads = [one.text for one in browser.find_elements("tag name", "h2")]
    assert [part for part in PARTS[kind] if part not in heads] == []
    # each link of the contents leads to a part
    assert browser.execute_script(
        "return [...document.querySelectorAll('nav a')].every(a => document.querySelector(a.getAttribute('href')))"
    )


def test_the_page_can_be_made_anew_from_the_files_alone(pages: dict[str, Path], capsys: pytest.CaptureFixture[str]):
    page = pages["table"]
    before = page.read_text()
    page.unlink()
    assert main(["report", str(page.parent), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(page)}
    assert page.read_text() == before


def test_damaged_files_of_a_run_are_named(pages: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = tmp_path / "run"
    shutil.copytree(pages["table"].parent, run)
    (run / "report.json").write_text("{")
    assert main(["report", str(run)]) == 1
    assert "report.json: is damaged" in capsys.readouterr().err
    (run / "report.json").write_text('{"mistakes": [3]}')
    assert main(["report", str(run)]) == 1
    error = capsys.readouterr().err
    assert "its files hold other things than a run's" in error
    assert "Traceback" not in error
    (run / "report.json").unlink()
    (run / "predictions.parquet").write_bytes(b"PAR1")
    assert main(["report", str(run)]) == 0

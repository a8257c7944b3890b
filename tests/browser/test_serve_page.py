"""The page of `railcar serve` in a real browser, of a real server: every kind of model, at a desk and on a phone."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import railcar
from tests.browser.pages import find_violations
from tests.workflows.test_kinds import make_table, write_reviews

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

TOKEN = "a-token-of-16-letters"
QUICK = {"training.tensorboard": False, "training.batch_size": 16}
COLORS = {"blue": (30, 60, 200), "green": (40, 170, 60), "red": (200, 40, 40)}
# Of a seven, in shares of the pad's side from its middle.
SEVEN = [(-0.25, -0.3), (0.0, -0.31), (0.25, -0.3), (0.15, -0.1), (0.05, 0.1), (-0.05, 0.33)]
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (one) => one.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], arguments[1], { type: "image/png" }));
const event = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data });
document.querySelector(".zone").dispatchEvent(event);
"""


def make_photo(color: str, seed: int = 0) -> Image.Image:
    """72x72 pixels, about of that colour."""
    noise = np.random.default_rng(seed).integers(-25, 26, (72, 72, 3))
    return Image.fromarray(np.clip(np.array(COLORS[color]) + noise, 0, 255).astype(np.uint8))


def write_photos(folder: Path) -> Path:
    for color in COLORS:
        (folder / color).mkdir(parents=True)
        for number in range(16):
            make_photo(color, number).save(folder / color / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> a run of each kind that the page has a form for."""
    folder = tmp_path_factory.mktemp("served")
    make_table().drop("price").write_csv(folder / "dear.csv")
    make_table().drop("dear", "sold").write_csv(folder / "prices.csv")
    plans: dict[str, tuple[Any, dict[str, Any]]] = {
        "digits": ("mnist-sample", {"training.steps": 150, "training.batch_size": 128, "data.limit_per_class": 400}),
        "photos": (write_photos(folder / "photos"), {"training.steps": 60, "model.filters": [8]}),
        "reviews": (write_reviews(folder / "reviews.csv"), {"training.steps": 60}),
        "homes": (folder / "dear.csv", {"training.steps": 200, "data.label": "dear"}),
        "prices": (folder / "prices.csv", {"training.steps": 6, "data.label": "price"}),
    }
    return {
        name: railcar.train(data, overrides={**QUICK, **overrides}, runs_dir=folder / "runs", quiet=True).path
        for name, (data, overrides) in plans.items()
    }


@contextmanager
def serve(*words: str, log: Path) -> Iterator[str]:
    """The address of the command `railcar serve`, as soon as it is ready."""
    command = [sys.executable, "-m", "railcar", "serve", *words, "--port", "0", "--engine", "tensorflow"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stderr=file)
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
                try:
                    urllib.request.urlopen(f"{found[0]}/readyz", timeout=5).close()
                except urllib.error.URLError:
                    pass
                else:
                    yield found[0]
                    return
            time.sleep(0.1)
        pytest.fail(f"the server did not come up: {log.read_text()}")
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def address(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    words = [f"{name}={path}" for name, path in runs.items()]
    with serve(*words, log=tmp_path_factory.mktemp("log") / "stderr.txt") as found:
        yield found


# ---- what a user does


def show(browser: Chrome, address: str, model: str, *, width: int = 1280, scheme: str = "light") -> None:
    """Open the page as on a screen of that width, with that model chosen."""
    size = {"width": width, "height": 850, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(address)
    wait(browser, "document.querySelector('#input *')")
    if browser.find_element("id", "choice").is_displayed():
        from selenium.webdriver.support.ui import Select

        Select(browser.find_element("id", "model")).select_by_visible_text(model)


def wait(browser: Chrome, condition: str) -> Any:
    """What the JavaScript `condition` gives, as soon as that is true."""
    end = time.monotonic() + 20
    while not (found := browser.execute_script(f"return {condition}")):
        if time.monotonic() > end:
            text = browser.execute_script("return document.body.innerText")
            pytest.fail(f"never true: {condition}; the page says: {text}; the log: {browser.get_log('browser')}")
        time.sleep(0.05)
    return found


def wait_for_answer(browser: Chrome) -> str:
    """The best label, or the number."""
    return wait(browser, "document.querySelector('#answer[aria-busy=false] .best')?.firstChild.textContent")


def ask_why(browser: Chrome) -> str:
    wait(browser, "document.getElementById('why')")
    browser.find_element("id", "why").click()
    return wait(browser, "document.querySelector('.why')?.innerText")


def press(browser: Chrome, words: str) -> None:
    button(browser, words).click()


def button(browser: Chrome, words: str) -> WebElement:
    return next(one for one in browser.find_elements("tag name", "button") if one.text.startswith(words))


def type_keys(browser: Chrome, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def draw(browser: Chrome, points: list[tuple[float, float]]) -> None:
    """One stroke on the pad, with the mouse."""
    from selenium.webdriver import ActionChains

    pad = browser.find_element("css selector", ".pad")
    places = [(round(right * pad.size["width"]), round(down * pad.size["width"])) for right, down in points]
    hand = ActionChains(browser, duration=30).move_to_element_with_offset(pad, *places[0]).click_and_hold()
    for before, after in pairwise(places):
        hand.move_by_offset(after[0] - before[0], after[1] - before[1])
    hand.release().perform()


def drop(browser: Chrome, path: Path) -> None:
    from base64 import b64encode

    browser.execute_script(DROP, b64encode(path.read_bytes()).decode(), path.name)


def run_lines(browser: Chrome, folder: Path, **environment: str) -> list[dict[str, Any]]:
    """What the lines for curl and for Python, copied by their buttons, answer: a prediction each."""
    browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    browser.execute_script("document.getElementById('program').open = true")
    lines = []
    for one in browser.find_elements("css selector", "#program button"):
        one.click()
        wait(browser, "document.getElementById('status').textContent === 'Copied'")
        browser.execute_script("document.getElementById('status').textContent = ''")
        script = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
        lines.append(browser.execute_async_script(script))
    (folder / "ask.py").write_text(lines[1], encoding="utf-8")
    words = {"cwd": folder, "env": {**os.environ, **environment}, "capture_output": True, "text": True, "check": True}
    curl = subprocess.run(["sh", "-c", lines[0]], **words).stdout
    python = subprocess.run([sys.executable, "ask.py"], **words).stdout
    return [json.loads(curl)["predictions"][0], ast.literal_eval(python)]


def severe(browser: Chrome) -> list[Any]:
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


# ---- images


@pytest.mark.parametrize("width", [1280, 390])
def test_a_drawn_seven_is_called_seven_and_why_is_shown(browser: Chrome, address: str, width: int):
    show(browser, address, "digits", width=width)
    draw(browser, SEVEN)

    assert wait_for_answer(browser) == "7"
    status = browser.execute_script("return document.getElementById('status').textContent")
    assert re.fullmatch(r"7, >?\d+\.\d%", status)
    assert browser.execute_script("return document.querySelectorAll('.bars li').length") == 10
    assert "in the server" in browser.find_element("id", "answer").text
    # the answer is seen without scrolling
    assert browser.execute_script("return document.querySelector('.best').getBoundingClientRect().bottom") < 850
    assert browser.execute_script("return document.querySelector('.sent img').naturalWidth") == 28
    why = ask_why(browser)
    assert "speaks for" in why and "Most for it" in why
    press(browser, "Clear")
    assert "It comes here" in wait(browser, "document.querySelector('#answer .about')?.textContent")
    assert severe(browser) == []


def test_a_small_drawing_in_a_corner_is_centred_unless_one_wants_it_otherwise(browser: Chrome, address: str):
    show(browser, address, "digits")
    draw(browser, [(right * 0.3 - 0.3, down * 0.3 - 0.3) for right, down in SEVEN])
    assert wait_for_answer(browser) == "7"
    where = """
    const image = document.querySelector(".sent img");
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 28;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, 28, 28);
    const [mass, x, y] = data.reduce(([mass, x, y], value, at) => at % 4 ? [mass, x, y] :
      [mass + value, x + value * ((at / 4) % 28 + 0.5), y + value * (Math.floor(at / 112) + 0.5)], [0, 0, 0]);
    return [x / mass, y / mass];
    """
    wait(browser, "document.querySelector('.sent img').complete")
    assert browser.execute_script(where) == pytest.approx([14, 14], abs=0.2)
    before = browser.find_element("css selector", ".sent img").get_attribute("src")
    browser.find_element("css selector", ".check input").click()
    wait(
        browser,
        f"document.querySelector('.sent img').src !== '{before}' && document.querySelector('.sent img').complete",
    )
    assert max(browser.execute_script(where)) < 9


def test_a_photo_that_is_dropped_or_chosen_is_named(browser: Chrome, address: str, tmp_path: Path):
    show(browser, address, "photos")
    assert browser.find_elements("css selector", ".pad") == []
    make_photo("red", 99).save(tmp_path / "red.png")
    drop(browser, tmp_path / "red.png")
    assert wait_for_answer(browser) == "red"
    wait(browser, "document.querySelector('.preview').naturalWidth === 72")

    other = tmp_path / "it's, a; green one.png"
    make_photo("green", 98).save(other)
    browser.find_element("id", "file").send_keys(str(other))
    wait(browser, "document.querySelector('.best')?.firstChild.textContent === 'green'")
    assert "covering" in ask_why(browser)
    wait(browser, "document.querySelector('.overlay img').naturalWidth === 72")
    [by_curl, by_python] = run_lines(browser, tmp_path)
    assert by_curl["label"] == by_python["label"] == "green"

    (tmp_path / "no.png").write_text("no picture")
    browser.find_element("id", "file").send_keys(str(tmp_path / "no.png"))
    assert wait(browser, "document.querySelector('#answer .problem')?.innerText").startswith("error")


# ---- texts and rows


def test_a_text_is_asked_about_with_the_keyboard_alone(browser: Chrome, address: str, tmp_path: Path):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    show(browser, address, "reviews")
    examples = browser.find_elements("css selector", ".examples button")
    assert 1 <= len(examples) <= 3
    while browser.switch_to.active_element.tag_name != "textarea":
        type_keys(browser, Keys.TAB)
    text = 'it\'s a "superb" and lovely film, great'
    type_keys(browser, text)
    ActionChains(browser).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    assert wait_for_answer(browser) == "good"

    while browser.switch_to.active_element.get_attribute("id") != "why":
        type_keys(browser, Keys.TAB)
    type_keys(browser, Keys.ENTER)
    assert "leaving each word out" in wait(browser, "document.querySelector('.why')?.innerText")
    words = browser.find_element("css selector", ".words")
    assert words.get_attribute("textContent") == text
    marked = [one.text for one in words.find_elements("css selector", "span")]
    assert {"superb", "lovely", "great"} & set(marked)
    [by_curl, by_python] = run_lines(browser, tmp_path)
    assert by_curl["label"] == by_python["label"] == "good"

    browser.find_element("id", "text").clear()
    examples[0].click()
    assert wait_for_answer(browser) in ("good", "bad")
    assert str(browser.find_element("id", "text").get_attribute("value")).startswith("A ")


def test_a_form_is_filled_and_its_gaps_are_unknown(browser: Chrome, address: str, tmp_path: Path):
    from selenium.webdriver.support.ui import Select

    show(browser, address, "homes")
    names = [one.text for one in browser.find_elements("css selector", "#input label")]
    assert names == ["size", "age", "town", "garden", "sold"]
    browser.find_element("id", "column-0").send_keys("190.5")
    Select(browser.find_element("id", "column-2")).select_by_visible_text("Bonn")
    Select(browser.find_element("id", "column-3")).select_by_visible_text("yes")
    press(browser, "Predict")
    assert wait_for_answer(browser) == "dear"
    why = ask_why(browser)
    assert "hiding each cell" in why and "190.5" in why
    assert len(browser.find_elements("css selector", ".why .bars li")) == 5
    [by_curl, by_python] = run_lines(browser, tmp_path)
    assert by_curl["label"] == by_python["label"] == "dear"
    assert '"input":{"size":190.5,"town":"Bonn","garden":true}' in browser.find_element("id", "program").text

    press(browser, "Fill with an example")
    assert wait_for_answer(browser) in ("dear", "cheap")
    assert float(str(browser.find_element("id", "column-0").get_attribute("value"))) > 0
    assert str(browser.find_element("id", "column-4").get_attribute("value")).startswith("202")
    press(browser, "Empty")
    browser.find_element("id", "column-1").send_keys("1e")
    press(browser, "Predict")
    assert "age: this is no number" in wait(browser, "document.querySelector('#input .problem')?.innerText")


def test_a_number_is_answered_with_a_number(browser: Chrome, address: str):
    show(browser, address, "prices")
    press(browser, "Fill with an example")
    assert float(wait_for_answer(browser).replace(",", ""))
    assert "raises this number" in ask_why(browser)


# ---- for everyone


@pytest.mark.parametrize("model", ["digits", "photos", "reviews", "homes", "prices"])
def test_the_page_hinders_nobody_and_fits_a_phone(browser: Chrome, address: str, model: str, axe: str, tmp_path: Path):
    make_photo("blue").save(tmp_path / "blue.png")
    grounds = set()
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light")):
        show(browser, address, model, width=width, scheme=scheme)
        assert find_violations(browser, axe) == []
        if model == "digits":
            draw(browser, SEVEN)
        elif model == "photos":
            drop(browser, tmp_path / "blue.png")
        elif model == "reviews":
            browser.find_element("css selector", ".examples button").click()
        else:
            press(browser, "Fill with an example")
        ask_why(browser)
        browser.execute_script("document.querySelectorAll('details').forEach((one) => one.open = true)")

        assert find_violations(browser, axe) == []
        assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
        grounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    facts = browser.find_element("id", "facts").text
    assert all(word in facts for word in ("data fingerprint", "checkpoint", "engine", "test"))
    assert severe(browser) == []


def test_a_server_that_is_lost_is_told_and_asked_again(browser: Chrome, address: str):
    show(browser, address, "reviews")
    link = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**link, "offline": True})
    browser.find_element("css selector", ".examples button").click()
    told = wait(browser, "document.querySelector('#answer .problem')?.innerText")
    assert "The server does not answer" in told
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**link, "offline": False})
    press(browser, "Try again")
    assert wait_for_answer(browser) in ("good", "bad")


def test_the_token_is_asked_for_and_kept(browser: Chrome, runs: dict[str, Path], axe: str, tmp_path: Path):
    with serve(f"photos={runs['photos']}", "--token", TOKEN, log=tmp_path / "stderr.txt") as address:
        browser.get(address)
        wait(browser, "document.getElementById('token')")
        assert find_violations(browser, axe) == []
        type_keys(browser, "not-the-right-one\n")
        wait(browser, "document.querySelector('#start .problem')")
        type_keys(browser, f"{TOKEN}\n")
        wait(browser, "document.querySelector('#input *')")
        browser.refresh()
        wait(browser, "document.querySelector('#input *')")
        assert browser.find_elements("id", "token") == []
        assert browser.execute_script("return [localStorage.length, document.cookie]") == [0, ""]

        make_photo("blue").save(tmp_path / "blue.png")
        browser.find_element("id", "file").send_keys(str(tmp_path / "blue.png"))
        assert wait_for_answer(browser) == "blue"
        [by_curl, by_python] = run_lines(browser, tmp_path, RAILCAR_TOKEN=TOKEN)
        assert by_curl["label"] == by_python["label"] == "blue"
        assert TOKEN not in browser.find_element("id", "program").text


def test_all_that_is_fetched_is_small() -> None:
    from railcar.serving.app import PAGE

    files = sorted(PAGE.iterdir())
    assert {"index.html", "page.css", "page.js"} <= {one.name for one in files}
    assert sum(one.stat().st_size for one in files) < 40 << 10

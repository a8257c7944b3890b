"""What all tests share: a cache and a runs folder of their own, the real MNIST files where they are, a browser."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# A shell that starts the tests in the background has SIGINT ignored, for the processes that they start, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

PROJECT = Path(__file__).resolve().parent.parent

# Before Keras is imported: what somebody has downloaded would let tests choose another network.
os.environ["KERAS_HOME"] = str(Path(tempfile.gettempdir()) / f"railcar-tests-keras-{os.getuid()}")


@pytest.fixture(scope="session", autouse=True)
def isolated_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache and a runs folder that only this session uses, for the tests' own process and those that it starts."""
    folder = tmp_path_factory.mktemp("railcar")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAILCAR_CACHE", str(folder / "cache"))
        patch.setenv("RAILCAR_RUNS", str(folder / "runs"))
        patch.setenv("RAILCAR_KEY_FILE", str(folder / "key"))
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
        # Pre-trained weights are not downloaded, even where that could be done.
        patch.setenv("https_proxy", "http://127.0.0.1:9")
        patch.setenv("no_proxy", "127.0.0.1,localhost")
        yield folder


@pytest.fixture(scope="session")
def project() -> Path:
    """The folder of pyproject.toml."""
    return PROJECT


@pytest.fixture(scope="session")
def mnist_folder() -> Path | None:
    """The folder of the four IDX files of the full MNIST, or None where it is not there."""
    folder = PROJECT.parent / "shared" / "data" / "mnist"
    return folder if (folder / "train-images-idx3-ubyte.gz").is_file() else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real texts and tables (`text/`, `tables/`); the test is skipped where it is not there."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the folder shared/data beside the project")
    return folder


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """Chromium without a window, driven by Selenium. Without it the test is skipped; where CI is set it fails."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        missing = "needs chromium and chromedriver: apt install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)

    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # Chromium refuses its sandbox as root; /dev/shm is small in containers.
    quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
    size = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000")
    for argument in (*size, *quiet):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path / 'chromium'}")
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()

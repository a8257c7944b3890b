"""TensorBoard in a real browser: scalars, histograms, images and the graph of a run are seen."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from railcar.models.image import build_cnn
from railcar.runs.run_dir import RunDir
from railcar.training.summaries import Summaries

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# TensorBoard's pages are made of nested shadow roots: what is visible is only found by going through all of them.
ALL_TEXT = """
const texts = [];
const visit = (node) => {
  if (node.nodeType === Node.TEXT_NODE && node.textContent.trim()) texts.push(node.textContent.trim());
  if (node.shadowRoot) visit(node.shadowRoot);
  if (!["STYLE", "SCRIPT", "TEMPLATE"].includes(node.nodeName)) node.childNodes.forEach(visit);
};
visit(document.body);
return texts.join("\\n");
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    run = RunDir.create(tmp_path, "mnist")
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), dtype=np.uint8)
    model = build_cnn(image_shape=(8, 8, 1), n_classes=3, mean=(128.0,), std=(64.0,), filters=(4,), dense=(6,))
    with Summaries(run.tensorboard) as summaries:
        summaries.graph(model)
        summaries.images(images, np.zeros(9, np.int64), ["a", "b", "c"])
        for step in (1, 2, 3):
            summaries.scalars(step, {"train/loss": 1.0 / step})
            summaries.weights(model, step)
            summaries.activations(model, images, step)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "railcar", "tensorboard", "--port", str(port), "--runs-dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process.stdout.readline().strip() if process.stdout else ""
    finally:
        process.kill()
        process.communicate()


# Of each page, what must be seen: of groups of tags the first is open, the others show their names.
PAGES = {
    "scalars": ("sparsity/conv1", "sparsity/logits", "train"),
    "histograms": ("activations/conv1", "activations/dense1", "weights"),
    "images": ("batch", "Labels, row by row"),
    "graphs": ("Main Graph", "conv1", "pool1", "logits"),
}


def read_page(browser: Chrome, address: str, wanted: Sequence[str]) -> str:
    """The page's text as soon as all that is wanted is in it, or after 60 s as it then is."""
    browser.get("about:blank")
    browser.get(address)
    text, end = "", time.monotonic() + 60
    while not all(word in text for word in wanted) and time.monotonic() < end:
        time.sleep(0.3)
        text = browser.execute_script(ALL_TEXT)
    return text


def test_scalars_histograms_images_and_graph_of_a_run_are_seen(browser: Chrome, url: str) -> None:
    for page, wanted in PAGES.items():
        text = read_page(browser, f"{url}#{page}", wanted)

        assert [word for word in wanted if word not in text] == [], f"{page}: {text[:2000]}"

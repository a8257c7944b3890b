"""What the serving rows serve and ask: small models of each kind, `python -m railcar serve` as a child, its questions.

A model is trained when a row first needs it, and kept until this process ends.
"""

from __future__ import annotations

import atexit
import functools
import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.harness.load import Question, build_question
from benchmarks.harness.servers import Server, ask, find_port, start_server
from benchmarks.reliability import subject
from benchmarks.reliability.children import train

JSON = {"Content-Type": "application/json"}
_TABLE = {"training.steps": "20", "training.tensorboard": "false"}
_HEAVY = {
    "model.name": "cnn",
    "model.filters": "[64,128,128]",
    "model.kernel_size": "3",
    "model.dense": "[16]",
    "data.image_size": "[96,96]",
    "training.batch_size": "8",
    "training.steps": "2",
    "training.tensorboard": "false",
    "training.precision": "float32",
}


@functools.cache
def scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="railcar-served-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def find_run(name: str) -> Path:
    """The run `image` (12x12, three classes), `heavy` (96x96 photos, half a GFLOP each), `table` or `text`."""
    folder = scratch() / name
    folder.mkdir()
    if name == "image":
        words = [str(subject.write_recipe(folder, steps=40, validate_every=40, checkpoint_every=40))]
    elif name == "heavy":
        words = [str(write_photos(folder / "photos")), *_set(_HEAVY)]
    else:
        words = [{"table": "penguins", "text": "sms-spam"}[name], *_set(_TABLE)]
    child = train([*words, "--runs-dir", str(folder / "runs"), "--quiet"], folder / "log")
    if child.wait() != 0:
        raise RuntimeError(f"no model of the kind {name}: {child.said()[-1000:]}")
    return next((folder / "runs").glob("*/artifact")).parent


def _set(keys: dict[str, str]) -> list[str]:
    return [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]


@functools.cache
def find_export(name: str) -> Path:
    """The folder of versions of the LiteRT export of a run; version 1 is there."""
    folder = scratch() / name / "exports"
    command = [sys.executable, "-m", "railcar", "export", str(find_run(name)), "--format", "litert"]
    subprocess.run([*command, "--output", str(folder)], check=True, capture_output=True)
    return folder / "litert"


def write_photos(folder: Path) -> Path:
    """Twelve JPEG files of 96x96 in each of two classes."""
    from PIL import Image

    chance = np.random.default_rng(0)
    for label, color in (("dusk", 60), ("noon", 190)):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            small = chance.integers(color - 60, color + 60, (12, 12, 3)).astype(np.uint8)
            Image.fromarray(small).resize((96, 96)).save(folder / label / f"{number}.jpg", quality=90)
    return folder


def serve(sources: list[Path | str], log: Path, *options: str, host: str = "127.0.0.1") -> Server:
    """`railcar serve`, waited for until it says that it is ready. Raises `NotReady`."""
    port = find_port()
    command = [sys.executable, "-m", "railcar", "serve", *map(str, sources), "--port", str(port), *options]
    server = start_server([*command, "--host", host], port, log)
    try:
        server.await_ready(lambda at: ask(at, "GET", "/readyz")[0] == 200)
    except BaseException:
        server.stop()
        raise
    return server


def list_inputs(name: str, n: int = 16) -> list[Any]:
    """Raw inputs of a run, as JSON holds them."""
    if name == "image":
        with np.load(scratch() / name / "data.npz") as data:
            return data["images"][:n, ..., 0].tolist()
    if name == "table":
        islands = ("Biscoe", "Dream", "Torgersen", None)
        rows = [(islands[i % 4], 35 + i, 14 + i / 4, 3000 + 200 * i) for i in range(n)]
        names = ("island", "bill_length_mm", "bill_depth_mm", "body_mass_g")
        return [dict(zip(names, row, strict=True)) for row in rows]
    words = ("free", "call", "prize", "dinner", "tonight", "win", "ok", "love", "txt", "now")
    return [" ".join(words[(i * k) % 10] for k in range(1, 4 + i % 6)) for i in range(n)]


def build_questions(port: int, name: str, *, model: str | None = None) -> list[Question]:
    """Questions to POST /predict, each with the label that the server gives it now: it must not change."""
    path = f"/predict?model={model}" if model else "/predict"
    questions = []
    for body, kind in _list_bodies(name):
        status, _, found = ask(port, "POST", path, body, {"Content-Type": kind})
        if status != 200:
            raise RuntimeError(f"{path} answers {status}: {found[:500]!r}")
        label = json.loads(found)["predictions"][0]["label"]
        questions.append(build_question(path, body, kind, label))
    return questions


def _list_bodies(name: str) -> list[tuple[bytes, str]]:
    if name == "heavy":
        return [(path.read_bytes(), "image/jpeg") for path in sorted((scratch() / name / "photos").glob("*/*.jpg"))]
    return [(json.dumps({"input": one}).encode(), "application/json") for one in list_inputs(name)]


def encode_image(pixels: Any, form: str, **options: Any) -> bytes:
    """uint8 [height, width] or [height, width, 3] as a file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, form, **options)
    return file.getvalue()

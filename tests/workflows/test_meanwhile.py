"""TensorFlow is imported while data is read: what is said meanwhile is heard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def test_an_error_of_the_data_is_told_though_tensorflow_was_being_imported(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(100):
            path = tmp_path / "photos" / name / f"{number}.jpg"
            Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
            if number > 90:
                path.write_bytes(path.read_bytes()[:-60])

    words = ["train", str(tmp_path / "photos"), "--runs-dir", str(tmp_path / "runs")]
    environment = {**os.environ, "RAILCAR_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "railcar", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    told = done.stderr.splitlines()
    assert done.returncode == 1
    assert "error: cat/91.jpg: " in told[0]
    assert "18 of 200 images cannot be read" in told[0]
    assert told[1].startswith("hint: ")
    assert not (tmp_path / "runs").exists()

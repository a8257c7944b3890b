"""Rows 78 to 80: each model file, given to `railcar predict --artifact DIR`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bad_inputs.commands import run_here
from tests.bad_inputs.row import Row, pattern_of
from tests.bad_inputs.table import MODEL_ROWS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hostile files are watched by Linux' own means")


@pytest.mark.parametrize("row", MODEL_ROWS, ids=lambda row: row.id)
def test_a_model_file_is_refused_with_the_exact_words(row: Row, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(photo)
    with row.trial(tmp_path) as trial:
        said = run_here(["predict", str(photo), "--artifact", trial.data, *trial.words], trial)

    assert (said.status, said.out) == (1, "")
    assert pattern_of(f"error: {row.error}\nhint: {row.hint}\n", trial).fullmatch(said.err), said.err
    assert not (tmp_path / "outside" / "planted.txt").exists()

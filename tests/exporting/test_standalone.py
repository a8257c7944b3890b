"""model.py, which goes along with LiteRT and ONNX, makes of raw input what the training's own encoders make of it."""

from __future__ import annotations

import io
import math
import random
from typing import Any

import numpy as np
import polars as pl
import pytest
import tensorflow as tf
from PIL import Image

from railcar.artifact import standalone
from railcar.layers.images import resize_images
from railcar.layers.ngrams import split_ngrams
from railcar.layers.texts import standardize_text
from railcar.storage.columns import Column, decode_cells
from railcar.storage.images import decode_image

DRAW = np.random.default_rng(0)
PIXELS = np.kron(DRAW.integers(0, 255, (12, 15, 3)), np.ones((9, 7, 1))).astype(np.uint8)


def write(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def files() -> dict[str, bytes]:
    rgb = Image.fromarray(PIXELS)
    turned, clear = rgb.getexif(), rgb.copy()
    turned[0x0112] = 6
    clear.putalpha(Image.fromarray(DRAW.integers(0, 255, PIXELS.shape[:2]).astype(np.uint8)))
    return {
        "JPEG": write(rgb, "JPEG", quality=60, subsampling=2),
        "turned": write(rgb, "JPEG", exif=turned),
        "transparent": write(clear, "PNG"),
        "gray and transparent": write(clear.convert("LA"), "PNG"),
        "palette": write(rgb.convert("P"), "PNG", transparency=3),
        "CMYK": write(rgb.convert("CMYK"), "JPEG"),
        "16 bits": write(Image.fromarray(DRAW.integers(0, 65535, (20, 30)).astype(np.uint16)), "PNG"),
        "GIF": write(rgb, "GIF"),
        "WebP": write(rgb, "WEBP"),
    }


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("name", files())
def test_image_files_are_decoded_alike(name: str, n_channels: int):
    content = files()[name]
    np.testing.assert_array_equal(standalone.decode_image(content, n_channels), decode_image(content, n_channels))


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(32, 32), (224, 200), (10, 300)])
def test_images_are_resized_alike_but_for_the_last_rounding(size: tuple[int, int], fit: str):
    expected = resize_images(PIXELS[None], size, fit).numpy()[0]
    found = standalone.resize(standalone.fit_proportions(PIXELS, size, fit), size)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found != expected).mean() < 0.01


def texts() -> list[str]:
    """Of several scripts, and letters at random from blocks that every Unicode since 2015 has."""
    chance = random.Random(0)
    blocks = [(32, 0x250), (0x3B1, 0x3C9), (0x430, 0x44F), (0xE01, 0xE2E), (0x3041, 0x30FF), (0x4E00, 0x4E40)]
    drawn = ["".join(chr(chance.randrange(*chance.choice(blocks))) for _ in range(40)) for _ in range(200)]
    known = [
        "",
        "it\u2019s <br/>FINE!!! ok?",
        "\u039f\u0394\u039f\u03a3 \u03a3\u0391\u03a3",
        "\u0130stanbul",
        "e\u0301 \u00e9",
    ]
    return [
        *known,
        "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u30fc\u3005",
        "\u2167 \u00b2 \U0001f600 a\u00a0b",
        *drawn,
    ]


def test_texts_are_cut_into_the_same_words_and_ngrams():
    expected = [one.decode() for one in standardize_text(tf.constant(texts())).numpy()]
    found = [standalone.standardize(one) for one in texts()]
    assert found == [" ".join(one.split()) for one in expected]
    ngrams = [[one.decode() for one in row] for row in split_ngrams(tf.constant(texts())).to_list()]
    assert [list(standalone.split_ngrams(one.split(" ") if one else [])) for one in found] == ngrams


@pytest.mark.parametrize(
    ("kind", "form", "cells"),
    [
        (
            "date",
            "",
            ["2024-03-17", "2024-3-7", "2024-03-17 10:20", "2024-03-17T10:20:30.5Z", "2024-03-17 10:20+02:00"],
        ),
        ("date", "", ["2024-03-17 10:20:00-0130", "", "NA", "?", "17.3.2024", "2024-13-01"]),
        ("date", "%d.%m.%Y", ["17.03.2024", "7.3.2024", "2024-03-17"]),
        ("date", "%Y/%m/%d", ["2024/3/7"]),
        ("date", "%m/%d/%Y", ["3/17/2024", "17/3/2024"]),
        ("boolean", "", ["yes", "No", "TRUE", "f", "1", "0", "n/a", "maybe"]),
        ("number", "", ["1.5", "1e3", "-7", "None", "nan", "1_000", "inf", "1,5", "x"]),
        ("number", ",", ["1,5", "2"]),
    ],
)
def test_cells_are_read_alike_and_refused_alike(kind: Any, form: str, cells: list[str]):
    for cell in cells:
        values, is_fault = decode_cells(pl.Series("c", [cell]), Column("c", kind, form=form))
        column = {"name": "c", "type": kind, "form": form}
        if is_fault[0]:
            with pytest.raises(ValueError, match="column 'c'"):
                standalone.read_number(cell, column)
            continue
        found = standalone.read_number(cell, column)
        assert math.isnan(found) if values[0] is None else found == pytest.approx(values[0])

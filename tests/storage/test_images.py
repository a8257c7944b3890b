from __future__ import annotations

import io
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from railcar.errors import DataError
from railcar.storage.images import (
    ImageTooLarge,
    decode_content,
    decode_image,
    find_format,
    read_header,
    read_image_file,
)

SIZES = ((1, 1), (7, 9), (33, 65), (120, 96))


def make_scene(height: int, width: int, *, seed: int = 0) -> Image.Image:
    """Smooth colours with some noise, as photos have."""
    generator = np.random.default_rng(seed)
    rough = generator.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return Image.fromarray(np.clip(smooth + generator.integers(-9, 9, smooth.shape), 0, 255).astype(np.uint8))


def encode(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def decode_with_pillow(content: bytes, n_channels: int) -> NDArray[np.uint8]:
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L" if n_channels == 1 else "RGB"))
    return pixels if pixels.ndim == 3 else pixels[..., None]


@pytest.mark.parametrize(
    ("subsampling", "progressive", "quality"), [*itertools.product((0, 1, 2), (0, 1), (30, 75, 97))]
)
def test_a_plain_jpeg_has_the_pixels_that_pillow_gives(subsampling: int, progressive: int, quality: int) -> None:
    for (height, width), is_gray in itertools.product(SIZES, (False, True)):
        scene = make_scene(height, width).convert("L" if is_gray else "RGB")
        content = encode(scene, quality=quality, subsampling=subsampling, progressive=bool(progressive))
        assert read_header(content, name="x") == (height, width, is_gray, True)
        for n_channels in (1, 3):
            pixels = decode_content(content, n_channels, name="x").pixels
            np.testing.assert_array_equal(pixels, decode_with_pillow(content, n_channels))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_turned_and_one_that_stands_upright_is_plain(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(make_scene(20, 31), exif=exif)
    header, decoded = read_header(content, name="x"), decode_content(content, 3, name="x")
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}
    upright = np.rot90(decode_with_pillow(content, 3), turns[orientation])
    expected = upright[:, ::-1] if orientation in (2, 4) else upright[::-1] if orientation in (5, 7) else upright

    assert decoded.pixels.shape[:2] == (header.height, header.width) and header.is_plain == (orientation == 1)
    assert decoded.remarks == (() if orientation == 1 else ("turned",))
    np.testing.assert_array_equal(decoded.pixels, expected)


def test_pixels_are_put_where_they_are_wanted() -> None:
    content = encode(make_scene(20, 31))
    rows = np.zeros((3, 20, 31, 3), np.uint8)
    pixels = decode_content(content, 3, name="x", buffer=rows[1]).pixels
    assert np.may_share_memory(pixels, rows[1]) and not rows[[0, 2]].any()
    np.testing.assert_array_equal(rows[1], decode_with_pillow(content, 3))
    assert decode_content(content, 3, name="x", buffer=np.zeros((2, 2, 3), np.uint8)).pixels.shape == (20, 31, 3)


def test_the_format_is_in_the_first_bytes_not_in_the_name(tmp_path: Path) -> None:
    scene = make_scene(8, 8)
    for form in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        content = encode(scene, form)
        assert find_format(content) == form
        (tmp_path / "wrong.jpg").write_bytes(content)
        assert decode_image(tmp_path / "wrong.jpg", 3).shape == (8, 8, 3)
    assert find_format(b"RIFF....WAVE") is None


def test_a_part_of_a_file_is_read_and_its_end_known(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    assert read_image_file(path, offset=10, n_bytes=5) == (bytes(range(10, 15)), False)
    assert read_image_file(path, offset=90, n_bytes=50) == (bytes(range(90, 100)), True)


def test_what_cannot_be_opened_is_said_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    for name, reason in {
        "pipe.png": "not a file",
        "gone.png": "a link that leads nowhere",
        "no.png": "not there",
    }.items():
        with pytest.raises(DataError, match=f"{name}: {reason}"):
            decode_image(tmp_path / name, 3)
    with pytest.raises(DataError, match="not a file"):
        decode_image(tmp_path, 3)


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    for form in ("PNG", "GIF", "JPEG"):
        content = encode(Image.new("L", (8000, 7000)), form)
        with pytest.raises(ImageTooLarge, match="8000x7000 pixels, more than the limit"):
            decode_image(content, 1, name="x")


def test_a_flipped_bit_is_an_error_or_the_same_pixels_as_pillows() -> None:
    content = encode(make_scene(64, 64))
    generator = np.random.default_rng(5)
    strange, n_read = [], 0
    for at in generator.integers(0, len(content), 200).tolist():
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(generator.integers(8))
        try:
            pixels = decode_image(bytes(damaged), 3)
        except DataError:
            continue
        n_read += 1
        if not np.array_equal(pixels, decode_with_pillow(bytes(damaged), 3)):
            strange.append(at)
    assert strange == [] and 0 < n_read < 200

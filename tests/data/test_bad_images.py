"""What each kind of bad image gets, in the numbering of the design's list of bad inputs (1 to 27)."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from railcar.data.prepare import open_dataset
from railcar.data.sources.folder import read_image_folder
from railcar.data.types import RawData, ReadOptions
from railcar.errors import DataError

PIXELS = np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def encode(form: str = "JPEG", image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(file, form, **options)
    return file.getvalue()


def read_with(make: SimpleNamespace, folder: Path, content: dict[str, bytes], max_bad: float = 0.4) -> RawData:
    """Ten good images in two classes, and `content` by its name."""
    make.class_folders(folder, size=(40, 50))
    for name, of in content.items():
        (folder / name).write_bytes(of)
    return read_image_folder(folder, ReadOptions(max_bad=max_bad))


def break_checksum(png: bytes) -> bytes:
    damaged = bytearray(png)
    damaged[png.index(b"IDAT") + 4 + int.from_bytes(png[png.index(b"IDAT") - 4 : png.index(b"IDAT")], "big")] ^= 1
    return bytes(damaged)


SKIPPED = {
    "1, empty": ("cat/x.jpg", b"", "an empty file"),
    "2, JPEG cut in half": ("cat/x.jpg", encode()[: len(encode()) // 2], "cut off: its end is missing"),
    "3, JPEG without its last bytes": ("cat/x.jpg", encode()[:-2], "cut off: its end is missing"),
    "4, truncated PNG": ("cat/x.png", encode("PNG")[:900], "cut off in or after its 'IDAT' chunk"),
    "4, PNG without its last chunk": ("cat/x.png", encode("PNG")[:-12], "cut off in or after its 'IDAT' chunk"),
    "5, PNG with a wrong checksum": (
        "cat/x.png",
        break_checksum(encode("PNG")),
        "damaged: the checksum of its 'IDAT' chunk is wrong",
    ),
    "6, HTML": ("cat/x.jpg", b"<!DOCTYPE html><html></html>", "not an image, but an HTML page"),
    "6, text": ("cat/x.jpg", b"hello", "not an image (PNG, JPEG, WEBP, BMP, GIF, TIFF are read)"),
    "6, a pointer": ("cat/x.jpg", b"version https://git-lfs.github.com/spec/v1\n", "a git-LFS pointer"),
    "6, HEIC": ("cat/x.jpg", b"\0\0\0\x18ftypheic\0\0\0\0", "'heic' (HEIC, AVIF and videos are not"),
    "a header and nothing else": ("cat/x.jpg", encode()[:20], "damaged: its header cannot be read"),
    "truncated GIF": ("cat/x.gif", encode("GIF")[:1500], "cut off: its end is missing"),
    "truncated TIFF": ("cat/x.tif", encode("TIFF")[:3000], ""),
    "truncated WebP": ("cat/x.webp", encode("WEBP")[:300], ""),
    "truncated BMP": ("cat/x.bmp", encode("BMP")[:3000], "cut off: its end is missing"),
}


@pytest.mark.parametrize(("name", "content", "reason"), SKIPPED.values(), ids=SKIPPED)
def test_what_cannot_be_read_is_skipped_named_and_counted(
    make: SimpleNamespace, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    raw = read_with(make, tmp_path, {name: content})
    note = next(note for note in raw.warnings if note.startswith("skipped"))
    assert len(raw.sides["train"].labels) == 10 and name not in raw.sides["train"].ids
    assert note.startswith(f"skipped 1 unreadable: {name}: ") and reason in note
    with pytest.raises(DataError, match=f"^{name}: .*1 of 11 images cannot be read") as caught:
        read_with(make, tmp_path, {name: content}, max_bad=0.01)
    assert "data.max_bad to 0.10" in caught.value.hint


def test_7_what_macos_writes_beside_an_image_is_counted_apart(make: SimpleNamespace, tmp_path: Path) -> None:
    raw = read_with(make, tmp_path, {"cat/._0.png": b"resource", "cat/.DS_Store": b"x"}, max_bad=0)
    assert "1 file of macOS (._*) is no image and skipped: cat/._0.png" in raw.warnings
    assert len(raw.sides["train"].labels) == 10


@pytest.mark.parametrize("suffix", [".webp", ".tif", ".tiff", ".TIF"])
def test_8_webp_and_tiff_are_loaded(make: SimpleNamespace, tmp_path: Path, suffix: str) -> None:
    form = "WEBP" if suffix == ".webp" else "TIFF"
    options: dict[str, Any] = {"lossless": True} if form == "WEBP" else {"compression": "tiff_lzw"}
    raw = read_with(make, tmp_path, {f"cat/x{suffix}": encode(form, **options)})
    row = list(raw.sides["train"].ids).index(f"cat/x{suffix}")
    np.testing.assert_array_equal(raw.sides["train"].images[row], PIXELS)


def tiff_16() -> bytes:
    return encode("TIFF", Image.fromarray(np.full((40, 50), 257 * 77, np.uint16)))


def gif() -> bytes:
    frames = [Image.fromarray(np.full((40, 50), value, np.uint8)) for value in (10, 200)]
    return encode("GIF", frames[0], save_all=True, append_images=frames[1:])


def turned(form: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(form, exif=exif)


def deep_png() -> bytes:
    """16 bits a channel in colour, which Pillow reduces without a word."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in PIXELS.astype(np.uint16) * 257)
    header = struct.pack(">IIBBBBB", 50, 40, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


ACCEPTED = {
    "9, PNG named .jpg": ("cat/x.jpg", encode("PNG"), "is of another format than its name says"),
    "9, WebP named .jpg": ("cat/x.jpg", encode("WEBP"), "is of another format than its name says"),
    "10, CMYK": ("cat/x.jpg", encode(image=Image.fromarray(PIXELS).convert("CMYK")), "is CMYK, converted to RGB"),
    "12, alpha": (
        "cat/x.png",
        encode("PNG", Image.fromarray(PIXELS).convert("RGBA")),
        "has an alpha channel, put on white",
    ),
    "13, 16 bits gray": ("cat/x.tif", tiff_16(), "has more than 8 bits a channel, reduced to 8"),
    "13, 16 bits RGB": ("cat/x.png", deep_png(), "has more than 8 bits a channel, reduced to 8"),
    "14, animation": ("cat/x.gif", gif(), "has several frames, of which the first is taken"),
    "15, turned JPEG": ("cat/x.jpg", turned("JPEG"), "is turned as its EXIF data says"),
    "15, turned PNG": ("cat/x.png", turned("PNG"), "is turned as its EXIF data says"),
    "16, 1x1": ("cat/x.png", encode("PNG", Image.fromarray(PIXELS[:1, :1])), "is tiny or very narrow"),
    "16, 1x5000": ("cat/x.png", encode("PNG", Image.new("RGB", (5000, 1))), "is tiny or very narrow"),
}


@pytest.mark.parametrize(("name", "content", "words"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_repaired_or_odd_is_read_with_a_note(
    make: SimpleNamespace, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    raw = read_with(make, tmp_path, {name: content})
    assert f"1 image {words}: {name}" in raw.warnings
    assert name in raw.sides["train"].ids


def test_notes_count_and_name_the_first_images_in_one_line(make: SimpleNamespace, tmp_path: Path) -> None:
    content = {f"cat/a{n}.png": ACCEPTED["12, alpha"][1] for n in range(7)}
    raw = read_with(make, tmp_path, content)
    expected = (
        "7 images have an alpha channel, put on white: cat/a0.png, cat/a1.png, cat/a2.png, cat/a3.png, cat/a4.png, …"
    )
    assert expected in raw.warnings


def test_repairs_give_the_right_pixels(make: SimpleNamespace, tmp_path: Path) -> None:
    see_through = np.zeros((40, 50, 4), np.uint8)
    see_through[:, :25] = (10, 20, 30, 255)
    contents = {
        "cat/alpha.png": encode("PNG", Image.fromarray(see_through)),
        "cat/deep.tif": tiff_16(),
        "cat/first.gif": gif(),
        "cat/turned.png": turned("PNG"),
        "cat/deep.png": deep_png(),
    }
    train = read_with(make, tmp_path, contents).sides["train"]
    images = dict(zip(train.ids, np.asarray(train.images), strict=True))
    rows = np.rot90(PIXELS, -1)

    assert (
        images["cat/alpha.png"][0, 0].tolist() == [10, 20, 30] and images["cat/alpha.png"][0, -1].tolist() == [255] * 3
    )
    assert (images["cat/deep.tif"] == 77).all() and (images["cat/first.gif"] == 10).all()
    assert rows.shape == (50, 40, 3) and images["cat/turned.png"].shape == train.images.shape[1:]
    if train.images.shape[1:3] == (40, 50):
        np.testing.assert_array_equal(images["cat/deep.png"], PIXELS)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_11_gray_palette_and_one_bit_images_are_read_without_a_word(
    make: SimpleNamespace, tmp_path: Path, mode: str
) -> None:
    raw = read_with(make, tmp_path, {"cat/x.png": encode("PNG", Image.fromarray(PIXELS).convert(mode))})
    assert len(raw.warnings) == 1 and "cat/x.png" in raw.sides["train"].ids


def test_17_a_small_file_of_a_huge_image_is_refused_with_the_limit(make: SimpleNamespace, tmp_path: Path) -> None:
    bomb = encode("PNG", Image.new("1", (12000, 12000)))
    assert len(bomb) < 30_000
    with pytest.raises(DataError, match=r"cat/x\.png: 12000x12000 pixels, more than the limit of 50,000,000") as caught:
        read_with(make, tmp_path, {"cat/x.png": bomb}, max_bad=1)
    assert caught.value.hint == "make it smaller, or remove it"


def test_18_and_19_class_folders_without_images_are_refused_by_name(make: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "emu").mkdir()
    with pytest.raises(DataError, match="emu: no images in this class folder"):
        read_with(make, tmp_path, {})
    (tmp_path / "emu" / "notes.txt").write_text("none yet")
    with pytest.raises(DataError, match="emu: no images in this class folder"):
        read_image_folder(tmp_path)


def test_20_one_class_only_is_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path, classes=("cat",))
    with pytest.raises(DataError, match="there is only the class 'cat'"):
        read_image_folder(tmp_path)


def test_21_to_24_hidden_folders_strays_and_links(make: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / ".cache" / "x").mkdir(parents=True)
    (tmp_path / "cat").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "cat" / "loop").symlink_to(tmp_path / "cat", target_is_directory=True)
    (tmp_path / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "cat" / "self.png").symlink_to("self.png")
    raw = read_with(make, tmp_path, {"stray.png": encode("PNG")})
    notes = "\n".join(raw.warnings)

    assert raw.class_names == ("cat", "dog") and len(raw.sides["train"].labels) == 10
    assert "1 image beside the class folders is not used: stray.png" in raw.warnings
    assert "links to folders are not followed: loop" in raw.warnings
    assert "skipped 2 unreadable: cat/gone.png: a link that leads nowhere; cat/self.png: " in notes


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_25_a_name_that_is_not_utf8_is_skipped(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path)
    name = os.fsdecode(b"caf\xe9.png")
    make.image(tmp_path / "cat" / name)
    raw = read_image_folder(tmp_path, ReadOptions(max_bad=0.2))
    assert r"skipped 1 unreadable: cat/caf\xe9.png: its name is not UTF-8" in raw.warnings
    assert len(open_dataset(str(tmp_path), max_bad=0.2).splits["train"]) == 10
    (tmp_path / os.fsdecode(b"\xe9mu")).mkdir()
    with pytest.raises(DataError, match="the name of this class is not UTF-8"):
        read_image_folder(tmp_path)


def test_27_no_images_at_all_is_refused_with_what_is_there_instead(tmp_path: Path) -> None:
    for name in ("cat/a.txt", "dog/b.txt", "dog/c.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with pytest.raises(
        DataError, match=r"no images in any of its folders .*; it holds files of other kinds: \.pdf, \.txt"
    ):
        read_image_folder(tmp_path)


def test_bad_images_in_the_middle_leave_the_others_in_their_rows(make: SimpleNamespace, tmp_path: Path) -> None:
    make.class_folders(tmp_path, n=100)
    for number in (0, 7, 63, 64, 99):
        path = tmp_path / "cat" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:-20])
    train = read_image_folder(tmp_path, ReadOptions(max_bad=0.1)).sides["train"]
    assert len(train.labels) == 195
    for name, image in zip(train.ids, np.asarray(train.images), strict=True):
        np.testing.assert_array_equal(image[..., 0], np.asarray(Image.open(tmp_path / name)))

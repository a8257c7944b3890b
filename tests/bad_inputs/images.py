"""Image files that are broken, odd or not what they seem, each among a hundred sound ones: rows 1 to 17 and 25."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.bad_inputs.row import Finding, Row

DATA = "photos"
N = 100
SIDE = 32
HOLDS = "photos holds folders: one for each class"
GRAY = "images are gray, all of 32x32"
RGB = "images are RGB, all of 32x32"
SKIPPED_HINT = "mend or remove them; more than data.max_bad of all would be refused"


def draw(seed: int, *, is_bright: bool = False) -> NDArray[np.uint8]:
    """uint8 [32, 32] of noise that no other seed gives, in one of two classes that are easily told."""
    low = 55 if is_bright else 0
    return np.random.default_rng(seed).integers(low, low + 200, (SIDE, SIDE), dtype=np.uint8)


def write_photos(root: Path, *, classes: tuple[str, ...] = ("cat", "dog"), n: int = N // 2, seed: int = 0) -> None:
    """`root/<class>/<number>.png`: so many that one bad image of them is not too many."""
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(n):
            pixels = draw(seed + 10_000 * number + index, is_bright=number > 0)
            Image.fromarray(pixels).save(root / name / f"{index}.png")


def with_files(files: Mapping[str, bytes]) -> Callable[[Path], None]:
    """Photos, and these files among them."""

    def make(root: Path) -> None:
        write_photos(root)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return make


COLORS = np.random.default_rng(1).integers(0, 200, (SIDE, SIDE, 3), dtype=np.uint8)


def encode(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(COLORS)).save(file, form, **options)
    return file.getvalue()


def break_checksum(png: bytes) -> bytes:
    """One bit of the pixel data's checksum is flipped."""
    start = png.index(b"IDAT")
    at = start + 4 + int.from_bytes(png[start - 4 : start], "big")
    return png[:at] + bytes([png[at] ^ 1]) + png[at + 1 :]


def deep_png() -> bytes:
    """16 bits a channel in colour, which Pillow reads but does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in COLORS.astype(np.uint16) * 257)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def animated_gif() -> bytes:
    frames = [Image.fromarray(draw(seed)) for seed in (7001, 7002)]
    return encode("GIF", frames[0], save_all=True, append_images=frames[1:])


def turned_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode("JPEG", exif=exif)


def gray_of(mode: str) -> bytes:
    return encode("PNG", Image.fromarray(draw(7100 + ord(mode))).convert(mode))


# ---- rows


def skipped(number: int, what: str, name: str, content: bytes, reason: str, *, shown: str = "") -> Row:
    """A file that cannot be read: the others are."""
    shown = shown or name
    line = f"skipped 1 unreadable: {shown}: {reason}"
    return Row(
        number,
        what,
        "S",
        DATA,
        with_files({name: content}),
        notes=(line,),
        findings=(("warning", line, SKIPPED_HINT),),
        named=shown,
        n=N,
    )


def repaired(number: int, what: str, name: str, content: bytes, remark: str, findings: tuple[Finding, ...] = ()) -> Row:
    """A file that is read, with a word that names it."""
    return Row(
        number,
        what,
        "W",
        DATA,
        with_files({name: content}),
        notes=(f"1 image {remark}: {name}",),
        findings=findings,
        named=name,
        n=N + 1,
    )


UNREADABLE = (
    skipped(1, "an empty file", "cat/x.jpg", b"", "an empty file"),
    skipped(
        2, "a JPEG cut in half", "cat/x.jpg", encode("JPEG")[: len(encode("JPEG")) // 2], "cut off: its end is missing"
    ),
    skipped(3, "a JPEG without its last two bytes", "cat/x.jpg", encode("JPEG")[:-2], "cut off: its end is missing"),
    skipped(4, "a PNG cut in half", "cat/x.png", encode("PNG")[:1500], "cut off in or after its 'IDAT' chunk"),
    skipped(
        4, "a PNG without its last chunk", "cat/x.png", encode("PNG")[:-12], "cut off in or after its 'IDAT' chunk"
    ),
    skipped(
        5,
        "a PNG with a wrong checksum",
        "cat/x.png",
        break_checksum(encode("PNG")),
        "damaged: the checksum of its 'IDAT' chunk is wrong",
    ),
    skipped(6, "an HTML page", "cat/x.jpg", b"<!DOCTYPE html><title>404</title>", "not an image, but an HTML page"),
    skipped(
        6, "a text", "cat/x.jpg", b"see the other folder\n", "not an image (PNG, JPEG, WEBP, BMP, GIF, TIFF are read)"
    ),
    Row(
        7,
        "._0.png of macOS",
        "S",
        DATA,
        with_files({"cat/._0.png": b"\0\5\x16\7 resource"}),
        notes=("1 file of macOS (._*) is no image and skipped: cat/._0.png",),
        named="cat/._0.png",
        n=N,
    ),
    skipped(8, "a truncated .webp", "cat/x.webp", encode("WEBP")[:300], "damaged: its content cannot be decoded"),
    skipped(
        25,
        "a name that is not UTF-8",
        "cat/caf\udce9.png",  # how Python has a name whose bytes are b"caf\xe9.png"
        encode("PNG"),
        "its name is not UTF-8",
        shown=r"cat/caf\xe9.png",
    ),
)

ACCEPTED = (
    Row(8, "a .webp", "OK", DATA, with_files({"cat/x.webp": encode("WEBP")}), notes=(HOLDS, RGB), n=N + 1),
    Row(8, "a .tif", "OK", DATA, with_files({"cat/x.tif": encode("TIFF")}), notes=(HOLDS, RGB), n=N + 1),
    repaired(9, "a PNG named .jpg", "cat/x.jpg", encode("PNG"), "is of another format than its name says"),
    repaired(9, "a WebP named .jpg", "cat/x.jpg", encode("WEBP"), "is of another format than its name says"),
    repaired(
        10,
        "a CMYK JPEG",
        "cat/x.jpg",
        encode("JPEG", Image.fromarray(COLORS).convert("CMYK")),
        "is CMYK, converted to RGB",
    ),
    Row(
        11,
        "gray, palette and one bit",
        "OK",
        DATA,
        with_files({f"cat/x{mode}.png": gray_of(mode) for mode in ("L", "P", "1")}),
        notes=(HOLDS, RGB),
        n=N + 3,
    ),
    repaired(
        12,
        "an alpha channel",
        "cat/x.png",
        encode("PNG", Image.fromarray(COLORS).convert("RGBA")),
        "has an alpha channel, put on white",
    ),
    repaired(
        13,
        "a gray TIFF of 16 bits",
        "cat/x.tif",
        encode("TIFF", Image.fromarray(draw(7200).astype(np.uint16) * 257)),
        "has more than 8 bits a channel, reduced to 8",
    ),
    repaired(13, "a colour PNG of 16 bits", "cat/x.png", deep_png(), "has more than 8 bits a channel, reduced to 8"),
    repaired(14, "an animated GIF", "cat/x.gif", animated_gif(), "has several frames, of which the first is taken"),
    repaired(15, "an EXIF rotation", "cat/x.jpg", turned_jpeg(), "is turned as its EXIF data says"),
    repaired(
        16,
        "1x1 pixels",
        "cat/x.png",
        encode("PNG", Image.fromarray(COLORS[:1, :1])),
        "is tiny or very narrow",
        (
            ("warning", "1 image is tiny or very narrow: cat/x.png", "look at them: they may be icons or cut off"),
            ("warning", "1 image is of one colour all over: cat/x.png", "remove them, unless they stand for something"),
        ),
    ),
    repaired(
        16,
        "1x5000 pixels",
        "cat/x.png",
        encode("PNG", Image.fromarray(np.resize(COLORS, (5000, 1, 3)))),
        "is tiny or very narrow",
        (("warning", "1 image is tiny or very narrow: cat/x.png", "look at them: they may be icons or cut off"),),
    ),
)

REFUSED = (
    Row(
        17,
        "a small PNG of 12000x12000",
        "R",
        DATA,
        lambda root: with_files({"cat/x.png": encode("PNG", Image.new("1", (12_000, 12_000)))})(root),
        error="cat/x.png: 12000x12000 pixels, more than the limit of 50,000,000",
        hint="make it smaller, or remove it",
        named="cat/x.png",
    ),
)

ROWS = (*UNREADABLE, *ACCEPTED, *REFUSED)

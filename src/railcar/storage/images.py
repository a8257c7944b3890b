"""Bytes of an image file -> pixels. The one decoder of training and of prediction, so that they agree.

Owns formats, limits, turning (EXIF) and what is remarkable about a file. A plain JPEG goes straight to libjpeg-turbo
(simplejpeg), which gives the same pixels as Pillow and costs Python far less; everything else, and every JPEG that
libjpeg-turbo has something to say about, goes to Pillow. Does not resize: that is `layers/images.py`'s.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from simplejpeg import decode_jpeg, decode_jpeg_header

from railcar.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIX_FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP",
    ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
SUFFIXES = tuple(SUFFIX_FORMATS)
MAX_PIXELS = 50_000_000
MAX_BYTES = 1 << 29
# What Pillow says of large images and odd metadata on stderr: `MAX_PIXELS` and `REMARKS` say it by name.
warnings.filterwarnings("ignore", module=r"PIL\.")

REMARKS = {
    "misnamed": ("is of another format than its name says", "are of another format than their names say"),
    "cmyk": ("is CMYK, converted to RGB", "are CMYK, converted to RGB"),
    "alpha": ("has an alpha channel, put on white", "have an alpha channel, put on white"),
    "deep": ("has more than 8 bits a channel, reduced to 8", "have more than 8 bits a channel, reduced to 8"),
    "frames": (
        "has several frames, of which the first is taken",
        "have several frames, of which the first is taken",
    ),
    "turned": ("is turned as its EXIF data says", "are turned as their EXIF data says"),
    "narrow": ("is tiny or very narrow", "are tiny or very narrow"),
}
"""What is repaired or accepted, and named: of one image, of several."""

_MAGICS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
# What Pillow says, and what it means.
_PLAIN_WORDS = {
    "could not create decoder object": "its content cannot be decoded",
    "broken data stream when reading image file": "its content cannot be decoded",
}
_GRAY_MODES = ("1", "L", "LA", "I", "F")
_EXIF_ORIENTATION = 0x0112
_XMP_ORIENTATION = b"tiff:Orientation"
_TIFF_BITS = 258
_PNG_HEADER_BYTES = 33
_FEW_PIXELS = 3
_MAX_ASPECT = 20
# A named pipe must not be waited for.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class _Damage(ValueError):
    """Damage that was found here, in words for people."""


class ImageTooLarge(DataError):
    """An image of more than `MAX_PIXELS`: a decompression bomb, or a scan that nobody meant to train on."""


class ImageHeader(NamedTuple):
    """Size in pixels, turned as the EXIF data says; whether it has one channel (and maybe alpha), and whether it is a
    JPEG that libjpeg-turbo decodes as Pillow does."""

    height: int
    width: int
    is_gray: bool
    is_plain: bool = False


class Decoded(NamedTuple):
    """`pixels` uint8 [height, width, channels], 0 to 255; `remarks` are keys of `REMARKS`."""

    pixels: NDArray[np.uint8]
    remarks: tuple[str, ...] = ()


def read_image_file(path: str | Path, *, offset: int = 0, n_bytes: int | None = None) -> tuple[bytes, bool]:
    """Bytes of a file from `offset` on, all of them or at most `n_bytes`; and whether that is the end of the file.

    Raises `DataError` that says what it is instead of a file that can be read. Opens the file once.
    """
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        raise DataError(f"{path}: {_why_not_opened(path, error)}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{path}: not a file")
        n_left = max(found.st_size - offset, 0)
        n_wanted = n_left if n_bytes is None else min(n_bytes, n_left)
        if n_wanted > MAX_BYTES:
            raise DataError(f"{path}: {n_wanted:,} bytes, more than the limit of {MAX_BYTES:,}")
        if offset:
            os.lseek(descriptor, offset, os.SEEK_SET)
        content = os.read(descriptor, n_wanted)
        while len(content) < n_wanted and (more := os.read(descriptor, n_wanted - len(content))):
            content += more
        return content, n_wanted == n_left
    except OSError as error:
        raise DataError(f"{path}: {_why_not_opened(path, error)}") from error
    finally:
        os.close(descriptor)


def _why_not_opened(path: str | Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "a link that leads nowhere" if Path(path).is_symlink() else "not there"
    if isinstance(error, PermissionError):
        return "may not be read"
    return "not a file" if Path(path).is_dir() else (error.strerror or str(error)).lower()


def find_format(content: bytes) -> str | None:
    """One of `FORMATS`, by the first bytes; None for anything else."""
    for magic, form in _MAGICS:
        if content.startswith(magic):
            return form
    return "WEBP" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else None


def read_header(content: bytes, *, name: str) -> ImageHeader:
    """What the first bytes of an image say. Raises `DataError`, of which `ImageTooLarge` is a kind."""
    form = _check_format(content, name)
    try:
        header = _read_plain_header(content, form) or _read_header_with_pillow(content, form)
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise _explain(name, error) from error
    _check_pixels(name, header.height, header.width)
    return header


def decode_image(source: Path | bytes, n_channels: int, *, name: str = "") -> NDArray[np.uint8]:
    """uint8 [height, width, n_channels] of 0 to 255: turned as its EXIF says, the first frame of an animation, 16 bits
    reduced to 8, what is transparent on white. `n_channels` is 1 (gray) or 3 (RGB). Raises `DataError` that names the
    file and says why not."""
    if isinstance(source, bytes):
        return decode_content(source, n_channels, name=name or "image").pixels
    content, _ = read_image_file(source)
    return decode_content(content, n_channels, name=name or str(source)).pixels


def decode_content(
    content: bytes,
    n_channels: int,
    *,
    name: str,
    header: ImageHeader | None = None,
    buffer: NDArray[np.uint8] | None = None,
) -> Decoded:
    """As `decode_image`, with remarks. `header` is what `read_header` said of all of `content`; `buffer` uint8
    [height, width, n_channels] may be where the pixels are put."""
    if header is None:
        header = read_header(content, name=name)
    try:
        decoded = _decode_plain(content, n_channels, header, buffer) or _decode_with_pillow(content, n_channels, name)
    except Exception as error:
        raise _explain(name, error) from error
    height, width = header.height, header.width
    if min(height, width) <= _FEW_PIXELS or max(height, width) >= _MAX_ASPECT * min(height, width):
        return Decoded(decoded.pixels, (*decoded.remarks, "narrow"))
    return decoded


def _decode_plain(
    content: bytes, n_channels: int, header: ImageHeader, buffer: NDArray[np.uint8] | None
) -> Decoded | None:
    """None for what is Pillow's: also a plain JPEG that is not quite whole, or that must lose its colours."""
    if not header.is_plain or (n_channels == 1 and not header.is_gray):
        return None
    if buffer is not None and buffer.shape != (header.height, header.width, n_channels):
        buffer = None
    try:
        return Decoded(decode_jpeg(content, "GRAY" if n_channels == 1 else "RGB", buffer=buffer))
    except ValueError:
        return None


def _decode_with_pillow(content: bytes, n_channels: int, name: str) -> Decoded:
    from PIL import Image, ImageOps

    form = _check_format(content, name)
    if form == "PNG":
        _check_png(content)
    with Image.open(io.BytesIO(content), formats=(form,)) as image:
        _check_pixels(name, image.height, image.width)
        remarks = _remark(image, content, form)
        image.load()
        turned: Any = ImageOps.exif_transpose(image)
        if turned.mode.startswith(("I", "F")):
            turned = Image.fromarray(_reduce_depth(np.asarray(turned)))
        if turned.has_transparency_data:
            remarks += ("alpha",)
            turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned.convert("RGBA"))
        pixels = np.asarray(turned.convert("L" if n_channels == 1 else "RGB"))
        return Decoded(pixels if pixels.ndim == 3 else pixels[..., None], remarks)


def _remark(image: Image.Image, content: bytes, form: str) -> tuple[str, ...]:
    """What can be told before the pixels are decoded."""
    bits: Any = getattr(image, "tag_v2", {}).get(_TIFF_BITS, 8)
    is_deep = image.mode.startswith(("I", "F")) or (form == "PNG" and content[24] == 16)
    is_deep = is_deep or max(bits if isinstance(bits, tuple) else (bits,)) > 8
    found = {
        "cmyk": image.mode == "CMYK",
        "deep": is_deep,
        "frames": getattr(image, "is_animated", False),
        "turned": image.getexif().get(_EXIF_ORIENTATION, 1) in range(2, 9),
    }
    return tuple(key for key, is_so in found.items() if is_so)


def _reduce_depth(values: NDArray[Any]) -> NDArray[np.uint8]:
    """[height, width] of 16 or 32 bits to uint8: fractions of 0 to 1 as such, what goes beyond 255 as of 16 bits."""
    numbers = values.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise _Damage("a pixel is not a number")
    high = float(numbers.max())
    if values.dtype.kind == "f" and high <= 1.0:
        numbers = np.rint(numbers * 255.0)
    elif high > 255.0:
        numbers = numbers / 257.0
    return np.clip(numbers, 0, 255).astype(np.uint8)


def _read_plain_header(content: bytes, form: str) -> ImageHeader | None:
    """Of PNG and JPEG without a word on turning; None for what Pillow must look at."""
    if form == "JPEG" and b"Exif\0\0" not in content and _XMP_ORIENTATION not in content:
        return _read_jpeg_header(content)
    if form == "PNG" and len(content) >= _PNG_HEADER_BYTES and content[12:16] == b"IHDR":
        if any(word in content for word in (b"eXIf", b"exif", _XMP_ORIENTATION)):
            return None
        width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
        return ImageHeader(height, width, content[25] in (0, 4)) if height and width else None
    return None


def _read_jpeg_header(content: bytes) -> ImageHeader | None:
    """Without regard to turning; None for other colours than YCbCr and gray, and for a damaged header."""
    try:
        height, width, colors, _ = decode_jpeg_header(content)
    except ValueError:
        return None
    if colors not in ("YCbCr", "Gray"):
        return None
    return ImageHeader(int(height), int(width), colors == "Gray", True)


def _read_header_with_pillow(content: bytes, form: str) -> ImageHeader:
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=(form,)) as image:
        width, height = image.size
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        if orientation in range(5, 9):
            width, height = height, width
        is_gray = image.mode.split(";")[0] in _GRAY_MODES
    plain = _read_jpeg_header(content) if form == "JPEG" and orientation not in range(2, 9) else None
    return plain or ImageHeader(height, width, is_gray)


def _check_png(content: bytes) -> None:
    """Walk the chunks to the end: Pillow neither checks the sums of pixel data nor asks for the last chunk."""
    view = memoryview(content)
    at = 8
    kind = "IHDR"
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(view[at : at + 4], "big")
        kind = bytes(view[at + 4 : at + 8]).decode("latin-1")
        if end > len(content):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise _Damage(f"damaged: the checksum of its {kind!r} chunk is wrong")
        if kind == "IEND":
            return
        at = end
    raise _Damage(f"cut off in or after its {kind!r} chunk")


def _check_pixels(name: str, height: int, width: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageTooLarge(
            f"{name}: {width}x{height} pixels, more than the limit of {MAX_PIXELS:,}",
            hint="make it smaller, or remove it",
        )


def _check_format(content: bytes, name: str) -> str:
    if form := find_format(content):
        return form
    raise DataError(f"{name}: {_describe(content)}")


def _describe(content: bytes) -> str:
    """What something that is no image is instead."""
    if not content:
        return "an empty file"
    start = content[:512].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "not an image, but a git-LFS pointer (git lfs pull fetches it)"
    if start.startswith((b"<!doctype html", b"<html")):
        return "not an image, but an HTML page"
    if content[4:8] == b"ftyp":
        kind = content[8:12].decode("latin-1")
        return f"not an image that can be read: {kind!r} (HEIC, AVIF and videos are not; {', '.join(FORMATS)} are)"
    return f"not an image ({', '.join(FORMATS)} are read)"


def _explain(name: str, error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    if type(error).__name__ == "UnidentifiedImageError":
        return DataError(f"{name}: damaged: its header cannot be read")
    words = " ".join(str(error).split())[:100] or type(error).__name__
    words = _PLAIN_WORDS.get(words, words)
    if isinstance(error, _Damage):
        return DataError(f"{name}: {words}")
    return DataError(
        f"{name}: cut off: its end is missing" if "truncated" in words.lower() else f"{name}: damaged: {words}"
    )

"""Bytes of an image file -> pixels, by Pillow. The one decoder of training and of prediction, so that they agree.

Owns formats, limits and turning (EXIF). Does not resize: that is `layers/images.py`'s.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from railcar.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
MAX_PIXELS = 50_000_000
# Pillow warns of large images on its own, on stderr; `MAX_PIXELS` refuses them by name.
warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
_GRAY_MODES = ("1", "L", "LA", "I;16", "I", "F")
_EXIF_ORIENTATION = 0x0112


def read_image_shape(path: Path) -> tuple[int, int, bool]:
    """(height, width, is gray) from the file's header, turned as its EXIF says. Raises `DataError` with the reason."""
    from PIL import Image

    try:
        _check_file(path)
        with Image.open(path, formats=FORMATS) as image:
            _check_pixels(path.name, image.size)
            width, height = image.size
            if image.getexif().get(_EXIF_ORIENTATION, 1) >= 5:
                width, height = height, width
            return height, width, image.mode in _GRAY_MODES
    except Exception as error:
        raise _explain(path, error) from error


def decode_image(source: Path | bytes, n_channels: int, *, name: str = "") -> NDArray[np.uint8]:
    """uint8 [height, width, n_channels] of 0 to 255: turned as its EXIF says, the first frame of an animation, 16 bits
    reduced to 8, what is transparent on white. `n_channels` is 1 (gray) or 3 (RGB). Raises `DataError` that names the
    file and says why not."""
    from PIL import Image, ImageOps

    path = Path(name or "image") if isinstance(source, bytes) else source
    file: Path | IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        if isinstance(file, Path):
            _check_file(file)
        with Image.open(file, formats=FORMATS) as image:
            _check_pixels(path.name, image.size)
            image.load()
            turned = ImageOps.exif_transpose(image)
            if turned.mode in ("I;16", "I", "F"):
                values = np.asarray(turned, np.float32)
                values = np.clip(values / (257.0 if values.max() > 255 else 1.0), 0, 255)
                turned = Image.fromarray(values.astype(np.uint8))
            if turned.has_transparency_data:
                turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned.convert("RGBA"))
            pixels = np.asarray(turned.convert("L" if n_channels == 1 else "RGB"))
            return pixels if pixels.ndim == 3 else pixels[..., None]
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise _explain(path, error, n_bytes=len(source) if isinstance(source, bytes) else None) from error


def _check_file(path: Path) -> None:
    """Refuse what would block or never end: a named pipe, a device."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: not a file")


def _check_pixels(name: str, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise DataError(f"{name}: {width}x{height} pixels, more than the limit of {MAX_PIXELS:,}")


def _explain(path: Path, error: Exception, *, n_bytes: int | None = None) -> DataError:
    if isinstance(error, DataError):
        return error
    return DataError(f"{path}: {_reason(path, error, n_bytes)}")


def _reason(path: Path, error: Exception, n_bytes: int | None) -> str:
    if isinstance(error, FileNotFoundError):
        return "a link that leads nowhere" if path.is_symlink() else "not there"
    if isinstance(error, PermissionError):
        return "may not be read"
    if type(error).__name__ == "UnidentifiedImageError":
        size = path.stat().st_size if n_bytes is None else n_bytes
        return "an empty file" if size == 0 else f"not an image ({', '.join(FORMATS)} are read)"
    return " ".join(str(error).split())[:100] or type(error).__name__

"""Images as small pictures inside a page: data URIs, so that the page needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_SIDE = 112
_SMALL = 64
SMALL_PICTURE = "data:image/png"
"""How those begin whose pixels are to be seen."""
_ORANGE = (255, 120, 0)


def draw_thumbnail(image: NDArray[np.uint8], *, alt: str) -> str:
    """An <img> of `image` uint8 [height, width, 1 or 3]; small ones keep their pixels, large ones are shrunk."""
    from html import escape

    height, width = image.shape[:2]
    pixelated = " class=pixels" if max(height, width) <= _SMALL else ""
    size = f'width="{width}" height="{height}"'
    return f'<img{pixelated} src="{encode_picture(image)}" {size} loading="lazy" alt="{escape(alt)}">'


def encode_picture(image: NDArray[np.uint8]) -> str:
    """`image` uint8 [height, width, 1 or 3] as a data URI: PNG where it is small, else JPEG, shrunk to `MAX_SIDE`."""
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[-1] == 1 else image))
    is_small = max(picture.size) <= _SMALL
    if max(picture.size) > MAX_SIDE:
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    if is_small:
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=85)
    kind = "png" if is_small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def draw_heat(heat: Sequence[Sequence[float]]) -> str:
    """A data URI of a picture to lie over another one: `heat` [rows, columns], 0 to 1, from clear to orange."""
    shares = np.clip(np.asarray(heat, np.float64), 0, 1)
    picture = np.zeros((*shares.shape, 4), np.uint8)
    picture[..., :3] = _ORANGE
    picture[..., 3] = np.rint(200 * shares)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"

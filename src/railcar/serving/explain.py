"""What POST /explain answers: which parts of an input counted. Owns what parts are covered with, and its words in JSON;
how it is found out is `explanation/occlusion.py`'s."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.artifact import standalone
from railcar.explanation.occlusion import explain_image, explain_row, explain_text
from railcar.serving.spec import Feature, Spec
from railcar.storage.images import decode_image

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def explain(answer: Callable[[Any], NDArray[np.float32]], raw_input: Any, spec: Spec) -> dict[str, Any]:
    """`answer` takes raw inputs and gives float32 [n, n_outputs]; it is asked up to 201 times as much as once, in
    batches. `raw_input` is an image's file or uint8 [height, width, channels], a text, or a row. Raises `DataError` for
    a file that cannot be read, and whatever `answer` raises. Takes seconds where an answer takes some: not for an event
    loop."""
    if spec.kind == "image":
        pixels = decode_image(raw_input, spec.image_shape[2]) if isinstance(raw_input, bytes) else raw_input
        raw_input = shrink(pixels, spec.about.get("resizes", ()))
    index = None
    if not spec.is_number:
        inputs = np.stack([raw_input]) if spec.kind == "image" else [raw_input]
        index = int(answer(inputs)[0].argmax())
    label = {} if index is None else {"label": spec.labels[index]}
    return {"kind": spec.kind, **label, **_find_weights(answer, raw_input, spec, index), "method": "occlusion"}


def _find_weights(answer: Any, raw_input: Any, spec: Spec, index: int | None) -> dict[str, Any]:
    if spec.kind == "image":
        height, width, _ = spec.image_shape
        weights = explain_image(answer, raw_input, index=index, network_size=(height, width))
        rows = [[round(one, 4) for one in row] for row in weights.tolist()]
        return {"width": weights.shape[1], "height": weights.shape[0], "weights": rows}
    if spec.kind == "text":
        pieces = explain_text(answer, raw_input, index=index)
        return {"words": [{"text": text, "weight": round(weight, 4)} for text, weight in pieces]}
    fills = {one.name: choose_fill(one, raw_input.get(one.name)) for one in spec.features}
    columns = explain_row(answer, raw_input, fills, index=index)
    return {"columns": [{"name": name, "value": value, "weight": round(weight, 4)} for name, value, weight in columns]}


def shrink(pixels: NDArray[np.uint8], resizes: Sequence[Sequence[Any]]) -> NDArray[np.uint8]:
    """The whole picture, of the network's size or near it: the answer stays the same but for rounding, and covering
    parts of a photo costs no resizing of millions of pixels a hundred times. `resizes` are (height, width, fit)."""
    if all(fit == "stretch" for _, _, fit in resizes):
        for height, width, _ in resizes:
            pixels = standalone.resize(pixels, (height, width))
        return pixels
    height, width, fit = resizes[0]
    rows, columns = pixels.shape[:2]
    scale = (max if fit == "crop" else min)(height / rows, width / columns)
    if scale >= 1:
        return pixels
    return standalone.resize(pixels, (max(round(rows * scale), 1), max(round(columns * scale), 1)))


def choose_fill(feature: Feature, value: Any) -> Any:
    """What stands for a column that is not known: the training's mean, written as `value` is (a column of a frame has
    one type); of yes and no, and of a category, None, a gap."""
    if feature.type == "date" and not isinstance(value, (int, float)):
        return _write_date(feature)
    if feature.type in ("number", "date"):
        as_text = str(feature.mean).replace(".", feature.form) if feature.form == "," else str(feature.mean)
        return as_text if isinstance(value, str) else feature.mean
    return None


def _write_date(feature: Feature) -> str | None:
    try:
        return (_EPOCH + timedelta(days=round(feature.mean))).strftime(feature.form or "%Y-%m-%d")
    except (OverflowError, ValueError):
        return None

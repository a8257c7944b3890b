"""A model that railcar trained, without railcar and without TensorFlow.

    from model import Model
    model = Model()
    model.predict(["photo.jpg"])                        [{"label": "cat", "probability": 0.93, "probabilities": {...}}]
    model.predict(["a text", "another"])
    model.predict([{"age": 31, "city": "Oslo"}])        a number's gap is None, "" or left out

    python model.py photo.jpg ...                       or: python model.py "a text" '{"age": 31, "city": "Oslo"}'

Needs NumPy, and ai-edge-litert for model.tflite or onnxruntime for model.onnx; Pillow for image files. What the network
takes is made here, as `model.json` says; how it is made is that of the training, and was compared with it.
"""

import json
import math
import os
import re
import sys
import unicodedata
from datetime import datetime, timedelta, timezone

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
# Scripts that put no spaces between words: each of their characters counts as a word.
# Han, Hiragana, Katakana, Thai, Lao, Khmer and Myanmar, as Unicode's Scripts.txt has them.
UNSPACED = re.compile(
    "[\u2e80-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufad9\U00020000-\U000323af"
    "\u3041-\u3096\u309d-\u309f\U0001b001-\U0001b11f\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff6f\uff71-\uff9d"
    "\u0e01-\u0e3a\u0e40-\u0e5b\u0e81-\u0edf\u1780-\u17f9\u19e0-\u19ff\u1000-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f]"
)
MISSING = ("", "na", "n/a", "nan", "null", "none", "?")
BOOLEANS = {
    "yes": 1.0,
    "true": 1.0,
    "t": 1.0,
    "y": 1.0,
    "1": 1.0,
    "no": 0.0,
    "false": 0.0,
    "f": 0.0,
    "n": 0.0,
    "0": 0.0,
}
UTC = timezone.utc
ISO = r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?"
N_WORDS = 2
CHARACTERS = (2, 5)
BLOCK = 1 << 22


class Model:
    """What is in `folder`: `model.json` and the network. `predict` takes raw input, `predict_encoded` what the network
    takes."""

    def __init__(self, folder=HERE):
        with open(os.path.join(folder, "model.json"), encoding="utf-8") as file:
            self.about = json.load(file)
        self.labels = self.about["labels"]
        self._encode = {"image": encode_images, "text": encode_texts, "table": encode_rows}[self.about["kind"]]
        self._lookup = index_vocabularies(self.about)
        path = os.path.join(folder, self.about["file"])
        self._run = open_litert(path) if path.endswith(".tflite") else open_onnx(path)

    def encode(self, inputs):
        """Images (files, bytes, or uint8 [height, width, channels]), texts or rows -> the network's input."""
        return self._encode(inputs, self.about, self._lookup)

    def predict_encoded(self, encoded):
        """float32 [n, labels]: probabilities; of a regression the numbers, [n, 1]."""
        size = self.about["batch"] or 64
        parts = [np.asarray(self._run(encoded[start : start + size])) for start in range(0, len(encoded), size)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.labels) or 1), np.float32)

    def predict(self, inputs):
        """A dict for each of the inputs: label, probability and probabilities, or value."""
        answers = self.predict_encoded(self.encode(inputs))
        if not self.labels:
            return [{"value": float(one[0])} for one in answers]
        found = []
        for row in answers:
            best = int(row.argmax())
            every = {label: float(value) for label, value in zip(self.labels, row, strict=True)}
            found.append({"label": self.labels[best], "probability": float(row[best]), "probabilities": every})
        return found


def open_litert(path):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise SystemExit("model.tflite needs LiteRT: pip install ai-edge-litert") from error
    interpreter = Interpreter(model_path=path)
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(batch):
        if tuple(interpreter.get_input_details()[0]["shape"]) != batch.shape:
            interpreter.resize_tensor_input(given["index"], batch.shape, strict=True)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], batch)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return run


def open_onnx(path):
    try:
        import onnxruntime
    except ImportError as error:
        raise SystemExit("model.onnx needs ONNX Runtime: pip install onnxruntime") from error
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def index_vocabularies(about):
    """Word or value -> its number."""
    if about["kind"] == "text":
        first = about["encoding"]["first"]
        return {word: number for number, word in enumerate(about["encoding"]["vocabulary"], start=first)}
    if about["kind"] == "table":
        columns = [one for one in about["encoding"]["columns"] if one["type"] == "category"]
        return {one["name"]: {value: number for number, value in enumerate(one["values"], start=2)} for one in columns}
    return {}


# Images


def encode_images(inputs, about, lookup=None):
    """uint8 [n, height, width, channels]."""
    made = []
    for one in inputs:
        pixels = one if isinstance(one, np.ndarray) else decode_image(one, about["channels"])
        for height, width, fit in about["resizes"]:
            pixels = resize(fit_proportions(pixels, (height, width), fit), (height, width))
        made.append(pixels)
    return np.stack(made) if made else np.zeros((0, *about["input"]["shape"][1:]), np.uint8)


def decode_image(source, channels):
    """A file or its bytes -> uint8 [height, width, channels]; turned as its EXIF says, what is transparent on white."""
    import io

    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image, np.float32) / 257.0).astype(np.uint8))
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels[..., None] if channels == 1 else pixels


def fit_proportions(pixels, size, fit):
    """Of other proportions than `size`: as it is ("stretch"), its middle ("crop"), or on a black canvas ("pad")."""
    height, width = pixels.shape[:2]
    wanted_height, wanted_width = divide(width * size[0], size[1]), divide(height * size[1], size[0])
    if fit == "crop":
        rows, columns = max(min(wanted_height, height), 1), max(min(wanted_width, width), 1)
        top, left = (height - rows) // 2, (width - columns) // 2
        return pixels[top : top + rows, left : left + columns]
    if fit == "pad":
        rows, columns = max(height, wanted_height), max(width, wanted_width)
        top, left = (rows - height) // 2, (columns - width) // 2
        return np.pad(pixels, ((top, rows - height - top), (left, columns - width - left), (0, 0)))
    return pixels


def divide(one, other):
    return (2 * one + other) // (2 * other)


def resize(pixels, size):
    """Bilinear, antialiased when shrinking, rounded to whole values."""
    if pixels.shape[:2] == tuple(size):
        return pixels
    height, width, channels = pixels.shape
    rows, columns = weigh(height, size[0]), weigh(width, size[1])
    step = max(BLOCK // (height * channels), 1)  # of a large photo the whole in float32 would take four times its size
    parts = [np.tensordot(rows, pixels[:, at : at + step].astype(np.float32), (1, 0)) for at in range(0, width, step)]
    found = np.tensordot(columns, np.concatenate(parts, axis=1), (1, 1))
    return np.clip(np.floor(found.transpose(1, 0, 2) + np.float32(0.501)), 0, 255).astype(np.uint8)


def weigh(n_in, n_out):
    """[n_out, n_in]: how much each pixel counts for each new one."""
    scale = n_in / n_out
    centers = (np.arange(n_out) + 0.5) * scale
    distances = np.abs(np.arange(n_in)[None] + 0.5 - centers[:, None]) / max(scale, 1.0)
    weights = np.clip(1.0 - distances, 0.0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


# Texts


def encode_texts(inputs, about, lookup):
    """int32 [n, length]: the numbers of words, or of n-grams; 0 is none."""
    encoding, made = about["encoding"], np.zeros((len(inputs), about["encoding"]["length"]), np.int32)
    for row, text in enumerate(inputs):
        words = standardize(text).split(" ") if standardize(text) else []
        if encoding["form"] == "ngrams":
            known = (lookup[one] for one in split_ngrams(words) if one in lookup)
            numbers = list(dict.fromkeys(known))
        else:
            numbers = [lookup.get(word, 1) for word in words]
        numbers = numbers[: made.shape[1]]
        made[row, : len(numbers)] = numbers
    return made


def standardize(text):
    """Lower case, without HTML tags; words (letters, digits, apostrophes) and the marks ! and ?, a space between."""
    plain = re.sub(r"<[a-z/!][^>]*>", " ", text.lower())
    made = []
    for letter in plain:
        if letter in "!?":
            made.append(f" {letter} ")
        elif letter in "'\u2019" or unicodedata.category(letter)[0] in "LMN":
            made.append(f" {letter} " if UNSPACED.match(letter) else letter)
        else:
            made.append(" ")
    return " ".join("".join(made).split())


def split_ngrams(words):
    """Words, pairs of words, then runs of characters within words."""
    yield from words
    for n in range(2, N_WORDS + 1):
        yield from (" ".join(words[at : at + n]) for at in range(len(words) - n + 1))
    for n in range(CHARACTERS[0], CHARACTERS[1] + 1):
        for word in words:
            edged = f"_{word}_"
            yield from ("#" + edged[at : at + n] for at in range(len(edged) - n + 1))


# Rows


def encode_rows(inputs, about, lookup):
    """float32 [n, numbers + categories]: numbers standardised, gaps filled and marked; then categories' codes."""
    columns = about["encoding"]["columns"]
    numbers = [one for one in columns if one["type"] != "category"]
    parts = []
    for one in numbers:
        values = [read_number(row.get(one["name"]), one) for row in inputs]
        parts += encode_number(one, np.array(values, np.float32))
    for one in columns:
        if one["type"] == "category":
            words = [spell(row.get(one["name"])) for row in inputs]
            codes = [0 if word == "" else lookup[one["name"]].get(word, 1) for word in words]
            parts.append(np.array(codes, np.float32))
    return np.stack(parts, axis=-1)


def encode_number(column, values):
    mean, is_gap = np.float32(column["mean"]), np.isnan(values)
    known = np.where(is_gap, mean, values)
    parts = [(known - mean) / np.float32(column["std"])]
    if column["type"] == "date":
        for days in (365.2425, 7.0):
            angle = np.mod(known, np.float32(days)) * np.float32(2.0 * math.pi / days)
            parts += [np.where(is_gap, np.float32(0), np.sin(angle)), np.where(is_gap, np.float32(0), np.cos(angle))]
    if column["has_gaps"]:
        parts.append(is_gap.astype(np.float32))
    return parts


def read_number(cell, column):
    """A cell as a number, NaN for a gap; a date as days since 1970-01-01."""
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING):
        return math.nan
    try:
        if column["type"] == "date" and not isinstance(cell, (int, float)):
            return count_days(cell, column["form"])
        if column["type"] == "boolean":
            return BOOLEANS[cell.lower()] if isinstance(cell, str) else float(bool(cell))
        number = float(cell.replace(",", ".") if isinstance(cell, str) and column["form"] == "," else cell)
        if math.isinf(number) or "_" in str(cell):
            raise ValueError(cell)
        return number
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"column {column['name']!r}: {cell!r} is no {column['type']}") from error


def count_days(cell, form):
    """Days since 1970-01-01 of a date, or of its text in the form of the training."""
    if isinstance(cell, str):
        cell = datetime.strptime(cell, form) if form else read_iso(cell)
    if not isinstance(cell, datetime):
        cell = datetime(cell.year, cell.month, cell.day)
    cell = cell if cell.tzinfo else cell.replace(tzinfo=UTC)
    return (cell - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() / 86400


def read_iso(text):
    """A date of ISO 8601, with a time and an offset or without; days and months of one digit, too."""
    found = re.fullmatch(ISO, text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, part, zone = found.groups()
    time = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC)
    offset = timedelta()
    if zone and zone != "Z":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:])) * (-1 if zone[0] == "-" else 1)
    return time + timedelta(seconds=float(part or 0)) - offset


def spell(cell):
    """A category's word; numbers keep their spelling."""
    if cell is None or cell != cell:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def main(words):
    model = Model()
    inputs = [json.loads(word) for word in words] if model.about["kind"] == "table" else words
    for word, found in zip(words, model.predict(inputs), strict=True):
        print(json.dumps({"input": word, **found}, ensure_ascii=False))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1:])
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")

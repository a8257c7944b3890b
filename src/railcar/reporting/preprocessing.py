"""What becomes of an example before the network sees it: the steps in their order, with the numbers that were fitted.

Owns the facts and their words, for the drawing (`flow.py`) and for a terminal. What is done is done by `layers/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from railcar.data.types import Features
from railcar.recipe.schema import Recipe
from railcar.registry import BACKBONES, NGRAMS, PIXELS, PRETRAINED, RAW, find_input_size

_MAX_NAMED = 8
_MAX_WORDS = 6
_FIT_VERBS = {"stretch": "resized", "crop": "cropped and resized", "pad": "padded with black and resized"}
_FIT_FACTS = {
    "stretch": (),
    "crop": ("before, the middle part of those proportions is taken",),
    "pad": ("before, it is put on the middle of a black canvas of those proportions",),
}


@dataclass(frozen=True)
class Step:
    """One step: its `name`, `facts` that say how, and the type and shape of what it gives (`result`, empty where they
    stay). What `is_training_only` is not done when the model predicts."""

    name: str
    facts: tuple[str, ...] = ()
    result: str = ""
    is_training_only: bool = False


@dataclass(frozen=True)
class ColumnStep:
    """One column of a table: what stands for a gap, how its values become numbers, and how many they are. A column that
    is left out has the `dropped` reason, and none of these."""

    name: str
    type: str = ""
    gaps: str = ""
    values: str = ""
    result: str = ""
    dropped: str = ""


@dataclass(frozen=True)
class Preprocessing:
    """From what is `given` to what the model answers; `columns` come before the `steps`."""

    title: str
    given: Step
    steps: tuple[Step, ...]
    columns: tuple[ColumnStep, ...] = ()


def describe_preprocessing(features: Features, recipe: Recipe, layers: Sequence[Mapping[str, Any]]) -> Preprocessing:
    """The way of an example through a model of that recipe; `layers` are the network's, as a run's manifest has them.
    Keras must be importable."""
    last = _describe_network(features, recipe)
    if features.kind == "image":
        return _describe_image(features, recipe, last)
    encoding = features.encoding or {}
    if encoding.get("form") == RAW:
        return Preprocessing("What becomes of a text", Step("a text", ("any string",), "string"), last)
    if encoding.get("form") == NGRAMS:
        return _describe_ngrams(encoding, last)
    if features.kind == "text":
        return _describe_text(encoding, layers, last)
    return _describe_table(features, encoding, layers, last)


def list_lines(features: Features, recipe: Recipe) -> list[str]:
    """The same in a few lines: of an image the steps, of a table the columns of each type."""
    encoding = features.encoding or {}
    if features.kind == "image":
        (height, width, _), changes = features.image_shape, _list_changes(recipe)
        resized = f"{_FIT_VERBS[recipe.data.fit]} to {height}x{width}"
        enlarged = f", {words}" if (words := _describe_enlarging(features, recipe)) else ""
        lines = [f"decoded to {_color(features)}, {resized}{enlarged}, {_describe_scale(features, recipe)}"]
        return [*lines, f"in training {'; '.join(changes)}"] if changes else lines
    if encoding.get("form") == NGRAMS:
        n_words, n_characters = _count_ngrams(encoding["vocabulary"])
        known = f"{n_words:,} words and pairs, {n_characters:,} parts of words known from the training texts"
        return [f"lower case, split into words; {known}, the first {encoding['length']:,} that a text has are read"]
    if encoding.get("form") == RAW:
        return ["texts as they are: your network takes strings"]
    if features.kind == "text":
        known = f"{len(encoding['vocabulary']):,} words known from the training texts"
        return [f"lower case, split into words; {known}, the first {encoding['length']} of a text are read"]
    return [*_list_types(encoding), f"together: {_count_row(features, encoding)}"]


def _list_types(encoding: Mapping[str, Any]) -> list[str]:
    lines = []
    for kind, what in (
        ("number", "standardised, gaps filled with the mean"),
        ("boolean", "as 0 and 1"),
        ("date", "as days, with their place in the year and the week"),
        ("category", "a learnt vector for each value"),
    ):
        named = [one for one in encoding.get("columns", ()) if one["type"] == kind]
        if named:
            gaps = [one["name"] for one in named if one.get("has_gaps")]
            marked = f"; gaps marked: {_list(gaps)}" if gaps else ""
            sizes = [f"{one['name']} ({len(one['values'])})" for one in named] if kind == "category" else None
            lines.append(f"{kind}: {_list(sizes or [one['name'] for one in named])}: {what}{marked}")
    return lines


def _list(names: Sequence[str], most: int = _MAX_NAMED) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _describe_network(features: Features, recipe: Recipe) -> tuple[Step, ...]:
    node = recipe.model
    views = ()
    if features.kind == "image" and (node.mirror_average or node.shift_average):
        seen = [
            *(["its mirror image"] if node.mirror_average else []),
            *(["copies moved by a pixel"] if node.shift_average else []),
        ]
        views = (f"its answers for the image and for {' and '.join(seen)} are averaged",)
    if features.task == "classification":
        classes = f"{features.n_classes:,} classes: {_list(features.class_names, _MAX_WORDS)}"
        return (
            Step(
                "network", (f"{node.name}, one number for each of {classes}", *views), f"float32 [{features.n_outputs}]"
            ),
        )
    network = Step("network", (f"{node.name}, one number",), "float32 [1]")
    if features.target is None:
        return (network,)
    mean, std = features.target
    return (network, Step("unit", (f"x {_number(std)} + {_number(mean)}: as the label is measured",), "float32 [1]"))


def _describe_image(features: Features, recipe: Recipe, last: tuple[Step, ...]) -> Preprocessing:
    height, width, channels = features.image_shape
    size = f"[{height}, {width}, {channels}]"
    decoding = f"to {_color(features)}; turned as its EXIF data says"
    resizing = f"to {height} x {width} (height x width), bilinear, smoothed"
    steps = [
        Step("decode", (decoding,), f"uint8 [height, width, {channels}]"),
        Step("resize", (resizing, *_FIT_FACTS[recipe.data.fit]), f"uint8 {size}"),
    ]
    if changes := _list_changes(recipe):
        steps.append(Step("change at random", tuple(changes), f"uint8 {size}", is_training_only=True))
    if words := _describe_enlarging(features, recipe):
        height, width = find_input_size(features.image_shape, recipe.model.input_size)
        size = f"[{height}, {width}, {channels}]"
        steps.append(Step("enlarge", (f"{words}, bilinear",), f"uint8 {size}"))
    if recipe.model.name == PRETRAINED:
        size = size.replace(f"{channels}]", "3]")
    steps.append(Step("scale", (_describe_scale(features, recipe),), f"float32 {size}"))
    given = Step("an image", ("a file of any usual form, or an array of pixels of 0 to 255",), "bytes, or uint8")
    return Preprocessing("What becomes of an image", given, (*steps, *last))


def _color(features: Features) -> str:
    return "gray" if features.image_shape[2] == 1 else "RGB"


def _describe_enlarging(features: Features, recipe: Recipe) -> str:
    """What a pre-trained network does to the size; nothing where it takes images as they are."""
    if recipe.model.name != PRETRAINED:
        return ""
    height, width = find_input_size(features.image_shape, recipe.model.input_size)
    return f"then resized to {height}x{width}" if (height, width) != features.image_shape[:2] else ""


def _describe_scale(features: Features, recipe: Recipe) -> str:
    from railcar.models.build import choose_scale, scale_numbers

    if recipe.model.name == PRETRAINED:
        return f"{PIXELS[BACKBONES[recipe.model.backbone].pixels]}, as {recipe.model.backbone} wants it"
    scale, _ = choose_scale(recipe.data.scale, features.mean, model=recipe.model.name)
    if scale == "none":
        return "pixels of 0 to 255 as they are"
    mean, std = scale_numbers(scale, features.mean, features.std)
    minus = f"minus {_numbers(mean)}, " if any(mean) else ""
    return f"{minus}divided by {_numbers(std)}"


def _list_changes(recipe: Recipe) -> list[str]:
    node = recipe.data.augment
    changes = {
        "mirrored in every second epoch": node.flip,
        f"moved by up to {node.shift:.3g} of the side": node.shift,
        f"turned by up to {360 * node.rotate:.3g} degrees": node.rotate,
        f"made larger or smaller by up to {node.zoom:.3g}": node.zoom,
        f"a square of {node.cutout:.3g} of the side cut out": node.cutout,
    }
    return [words for words, is_on in changes.items() if is_on]


def _count_ngrams(vocabulary: Sequence[str]) -> tuple[int, int]:
    """Of words and pairs, and of parts of words."""
    from railcar.layers.ngrams import count_words

    n_words = count_words(vocabulary)
    return n_words, len(vocabulary) - n_words


def _describe_ngrams(encoding: Mapping[str, Any], last: tuple[Step, ...]) -> Preprocessing:
    from railcar.layers.ngrams import CHARACTERS

    ngrams, length = encoding["vocabulary"], encoding["length"]
    n_words, n_characters = _count_ngrams(ngrams)
    fewest, most = CHARACTERS
    column = next((one["name"] for one in encoding.get("columns", ())), "text")
    steps = (
        Step("standardise", ("lower case, HTML tags taken out; letters, digits and apostrophes stay",)),
        Step("split", (f"words, pairs of words, and {fewest} to {most} characters in a row",), "string [n-grams]"),
        Step(
            "look up",
            (
                f"{n_words:,} words and pairs: {_list(ngrams[:n_words], _MAX_WORDS)}",
                f"{n_characters:,} parts of words: {_list(ngrams[n_words:], _MAX_WORDS)}",
                "each once; any other is left out",
            ),
        ),
        Step("cut or fill", (f"to {length:,} of them, words first; 0 where a text has fewer",), f"int32 [{length}]"),
        Step("weigh", ("by rarity in the training texts, words and parts of words alike",), f"float32 [{length}]"),
    )
    given = Step("a text", (f"of the column {column!r}, or any string",), "string")
    return Preprocessing("What becomes of a text", given, (*steps, *last))


def _describe_text(
    encoding: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], last: tuple[Step, ...]
) -> Preprocessing:
    words, length = encoding["vocabulary"], encoding["length"]
    column = next((one["name"] for one in encoding.get("columns", ())), "text")
    steps = [
        Step("standardise", ("lower case, HTML tags taken out; letters, digits and apostrophes stay",)),
        Step(
            "split", ("at spaces and other marks; ! and ? are words, and so is a Chinese character",), "string [words]"
        ),
        Step("look up", (f"{len(words):,} words: {_list(words, _MAX_WORDS)}", "any other word is number 1")),
        Step("cut or fill", (f"to the first {length} words; 0 where a text has fewer",), f"int32 [{length}]"),
        *_describe_vectors(layers, "word numbers", len(words) + 2),
    ]
    given = Step("a text", (f"of the column {column!r}, or any string",), "string")
    return Preprocessing("What becomes of a text", given, (*steps, *last))


def _describe_vectors(layers: Sequence[Mapping[str, Any]], noun: str, n_numbers: int) -> list[Step]:
    """The first layers of a network, which make vectors of numbers that only name things."""
    steps = []
    for layer in layers:
        shape = ", ".join(map(str, layer["shape"]))
        if layer["type"] == "Embedding":
            fact = f"a learnt vector of {layer['shape'][-1]} for each of {n_numbers:,} {noun}"
            steps.append(Step("embed", (fact,), f"float32 [{shape}]"))
        elif layer["type"] == "AverageWords":
            steps.append(Step("average", ("of the vectors of the words that are there",), f"float32 [{shape}]"))
        elif layer["name"] == "columns":
            steps.append(Step("join", ("the numbers, and the vectors of all categories",), f"float32 [{shape}]"))
    return steps


def _describe_table(
    features: Features, encoding: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], last: tuple[Step, ...]
) -> Preprocessing:
    columns = [_describe_column(one) for one in encoding["columns"]]
    dropped = [ColumnStep(name, dropped=reason) for name, reason in encoding.get("dropped", {}).items()]
    n_codes = sum(len(one["values"]) + 2 for one in encoding["columns"] if one["type"] == "category")
    joined = Step("put together", (_count_row(features, encoding),), f"float32 [{features.input_shape[0]}]")
    left = f", {len(dropped):,} left out" if dropped else ""
    given = Step("a row", (f"{len(columns):,} columns are read{left}",), "strings, numbers")
    steps = (joined, *_describe_vectors(layers, "codes", n_codes), *last)
    return Preprocessing("What becomes of a row", given, steps, (*columns, *dropped))


def _count_row(features: Features, encoding: Mapping[str, Any]) -> str:
    n_codes = sum(one["type"] == "category" for one in encoding["columns"])
    n_numbers = features.input_shape[0] - n_codes
    return f"{n_numbers:,} number{'s'[: n_numbers != 1]}, and {n_codes:,} code{'s'[: n_codes != 1]} of categories"


def _describe_column(column: Mapping[str, Any]) -> ColumnStep:
    name, kind = column["name"], column["type"]
    if kind == "category":
        n = len(column["values"])
        values = f"{n:,} value{'s'[: n != 1]}: {', '.join(map(str, column['values'][:_MAX_WORDS]))}"
        return ColumnStep(name, kind, "code 0; rare, new: 1", values, "1 code")
    mean, std = column["mean"], column["std"]
    middle = _date(mean) if kind == "date" else _number(mean)
    gaps = f"as {middle}, marked" if column["has_gaps"] else f"none (as {middle})"
    values = f"minus {middle}, divided by {_number(std)}"
    if kind == "date":  # beside the days, where the date is in the year and in the week
        values = f"days from {middle} / {_number(std)}; year and week"
    n_places = 5 if kind == "date" else 1
    return ColumnStep(name, kind, gaps, values, f"{n_places} + 1" if column["has_gaps"] else str(n_places))


def _date(days: float) -> str:
    """Of days since 1970; as a number beyond the years that the calendar has."""
    try:
        return (date(1970, 1, 1) + timedelta(days=days)).isoformat()
    except OverflowError:
        return _number(days)


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def _numbers(values: Sequence[float]) -> str:
    """One for each channel; only one where all are the same."""
    return _number(values[0]) if len(set(values)) == 1 else ", ".join(map(_number, values))

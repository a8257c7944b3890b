"""Names that users type, and the code that each stands for, resolved only when it is used.

Owns the tables; knows nothing of what stands behind a name. Importing this module imports nothing else of railcar.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from railcar.errors import MissingExtra, UsageError

WORDS, NGRAMS, RAW = "words", "ngrams", "raw"
"""What texts are to a network: numbers of words, or of n-grams, or strings as they are."""
ENGINES = ("auto", "litert", "onnx", "tensorflow")
"""What computes the answers of a served model; auto is what answers soonest."""


@dataclass(frozen=True)
class Entry:
    """`target` is "module:attribute"; `summary` one line for listings; `keys` the recipe's keys that count for it;
    `kind` what a model is for, or a data set of; `form` what it takes of texts, `WORDS` or `NGRAMS`; `is_embedded`
    whether a data set is in the package."""

    target: str
    summary: str
    keys: tuple[str, ...] = ()
    kind: str = "image"
    form: str = WORDS
    is_embedded: bool = False


@dataclass(frozen=True)
class Backbone:
    """A network of `keras.applications`: how it wants pixels ("tf" -1 to 1, "torch" and "caffe" less the mean of
    ImageNet and, of "torch", over the deviation; "caffe" with blue first; "own": 0 to 255, it scales them itself), and
    the fewest rows and columns that it takes (both as its documentation has them)."""

    pixels: str
    smallest: int = 32


class Registry:
    """A table from a name to an `Entry`. `noun` is what such a name is called in messages ("model", "data set")."""

    def __init__(self, noun: str, entries: dict[str, Entry]) -> None:
        self.noun = noun
        self._entries = entries

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __getitem__(self, name: str) -> Entry:
        if name in self._entries:
            return self._entries[name]
        close = get_close_matches(name, self._entries, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(self._entries)}"
        raise UsageError(f"there is no {self.noun} called {name!r}", hint=hint)

    def load(self, name: str) -> Any:
        """The object that `name` stands for. Raises `UsageError` with the nearest spelling for an unknown name."""
        module, _, attribute = self[name].target.partition(":")
        return getattr(importlib.import_module(module), attribute)


def check_installed(module: str, *, package: str, extra: str, needed_for: str) -> None:
    """Raise `MissingExtra` unless `module` can be imported. Does not import it."""
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(package, extra, needed_for=needed_for)


def check_tensorflow(needed_for: str) -> None:
    """Raise `MissingExtra` unless TensorFlow is installed. Does not import it (that costs seconds)."""
    check_installed("tensorflow", package="TensorFlow", extra="cpu", needed_for=needed_for)


AIRBENCH = "airbench"
"""The model that small images are trained with where there are enough."""
PRETRAINED = "pretrained"
"""The model that begins with the weights of another training."""

MODELS = Registry(
    "model",
    {
        "cnn": Entry(
            "railcar.models.image:build_cnn",
            "convolutions, pooling and dense layers, for small images",
            (
                *(
                    "filters",
                    "kernel_size",
                    "strides",
                    "padding",
                    "pool",
                    "pool_first",
                    "batch_norm",
                    "activation",
                    "global_pool",
                ),
                *("dense", "dropout", "initializer", "initializer_std", "bias"),
            ),
        ),
        AIRBENCH: Entry(
            "railcar.models.airbench:build_airbench",
            "groups of convolutions after airbench94, for small images: accurate in few epochs",
            ("filters", "activation"),
        ),
        "resnet": Entry(
            "railcar.models.resnet:build_resnet",
            "residual blocks, for small photos: more accurate than cnn, and slower",
            ("filters", "blocks", "activation", "dropout"),
        ),
        PRETRAINED: Entry(
            "railcar.models.pretrained:build_pretrained",
            "a network that has seen many photos (any of keras.applications) and a new output: accurate on few images",
            ("backbone", "weights", "input_size", "fine_tune", "dense", "activation", "dropout"),
        ),
        "bag_of_ngrams": Entry(
            "railcar.models.text:build_bag_of_ngrams",
            "a linear model of words, pairs of words and parts of words, for texts: strong and quick",
            (),
            "text",
            NGRAMS,
        ),
        "bag_of_words": Entry(
            "railcar.models.text:build_bag_of_words",
            "the average of the words' vectors and dense layers, for texts",
            ("embedding", "dense", "activation", "dropout"),
            "text",
        ),
        "rnn": Entry(
            "railcar.models.text:build_rnn",
            "words read in order by a recurrent layer (SimpleRNN, GRU or LSTM), for texts",
            ("embedding", "cell", "units", "bidirectional", "dense", "activation", "dropout"),
            "text",
        ),
        "textcnn": Entry(
            "railcar.models.text:build_textcnn",
            "convolutions over three, four and more words in a row, for texts",
            ("embedding", "filters", "kernel_size", "dense", "activation", "dropout"),
            "text",
        ),
        "transformer": Entry(
            "railcar.models.text:build_transformer",
            "a small encoder of self-attention, for texts",
            ("embedding", "heads", "blocks", "dense", "activation", "dropout"),
            "text",
        ),
        "linear": Entry(
            "railcar.models.table:build_linear",
            "logistic or linear regression: a weight a number and a category, for tables",
            (),
            "table",
        ),
        "mlp": Entry(
            "railcar.models.table:build_mlp",
            "dense layers over numbers and vectors of categories, for tables",
            ("embedding", "dense", "activation", "dropout"),
            "table",
        ),
        "tabm": Entry(
            "railcar.models.table:build_tabm",
            "many dense networks that share most of their weights, for tables",
            ("embedding", "dense", "activation", "dropout", "members"),
            "table",
        ),
    },
)

OWN = Entry("railcar.models.own:build_own", "a network of your own", ("options",))


def is_own(name: str) -> bool:
    """Whether `model.name` is a function of the user's: FILE.py:FUNCTION or module:FUNCTION."""
    return ":" in name


DATASETS = Registry(
    "data set",
    {
        "mnist-sample": Entry(
            "railcar.data.sources.sample:find_mnist_sample",
            "handwritten digits, 28x28: part of MNIST, embedded",
            is_embedded=True,
        ),
        "penguins": Entry(
            "railcar.data.sources.sample:find_penguins",
            "344 penguins of three species, measured: a table with gaps, embedded",
            kind="table",
            is_embedded=True,
        ),
        "sms-spam": Entry(
            "railcar.data.sources.sample:find_sms_spam",
            "4,837 text messages, wanted or spam, embedded",
            kind="text",
            is_embedded=True,
        ),
        "cifar10": Entry(
            "railcar.data.sources.cifar:fetch_cifar10", "small photos, 32x32 RGB: 50,000 to train on, 10,000 to test on"
        ),
        "mnist": Entry(
            "railcar.data.sources.idx:fetch_mnist", "handwritten digits, 28x28: 60,000 to train on, 10,000 to test on"
        ),
    },
)

PIXELS = {
    "tf": "scaled to -1 to 1",
    "torch": "less ImageNet's mean, over its deviation",
    "caffe": "blue first, less ImageNet's mean",
    "own": "0 to 255, scaled by the network",
}
"""What a backbone wants done to pixels, in words."""

BACKBONES = {
    **dict.fromkeys(("MobileNetV2", "MobileNet", "ResNet50V2", "ResNet101V2", "ResNet152V2"), Backbone("tf")),
    **dict.fromkeys(("MobileNetV3Small", "MobileNetV3Large"), Backbone("own")),
    **dict.fromkeys((f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")), Backbone("own")),
    **dict.fromkeys((f"EfficientNetB{size}" for size in range(8)), Backbone("own")),
    **dict.fromkeys((f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")), Backbone("own")),
    **dict.fromkeys(("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19"), Backbone("caffe")),
    **dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201"), Backbone("torch")),
    **dict.fromkeys(("InceptionV3", "InceptionResNetV2"), Backbone("tf", 75)),
    **dict.fromkeys(("NASNetMobile", "NASNetLarge"), Backbone("tf")),
    "Xception": Backbone("tf", 71),
}
"""What `model.backbone` may name."""


def find_input_size(image_shape: tuple[int, int, int], input_size: int | None) -> tuple[int, int]:
    """Height and width inside a pre-trained network: proportions stay, the shorter side becomes `input_size`."""
    height, width, _ = image_shape
    if input_size is None:
        return height, width
    scale = input_size / min(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)

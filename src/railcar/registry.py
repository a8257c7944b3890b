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

WORDS, NGRAMS = "words", "ngrams"
"""What texts are to a network: numbers of words, or of n-grams."""


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
        "airbench": Entry(
            "railcar.models.airbench:build_airbench",
            "groups of convolutions after airbench94, for small colour images: accurate in few epochs",
            ("filters", "activation"),
        ),
        "resnet": Entry(
            "railcar.models.resnet:build_resnet",
            "residual blocks, for small photos: more accurate than cnn, and slower",
            ("filters", "blocks", "activation", "dropout"),
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

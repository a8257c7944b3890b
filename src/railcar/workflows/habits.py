"""How a network is trained where nobody says: its settings, batch size, length and optimizer by the size of the data,
and random changes of images, each with a reason.

Owns these habits, found by measuring (`docs/concepts/models.md`). Knows nothing of where data comes from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from railcar.registry import AIRBENCH, PRETRAINED, is_own

# Training examples of a class below which a result says nothing of others.
_FEWEST = 15
# Pixels that the sides of photos have inside a backbone at the least.
_SMALL_PHOTO, _LARGER_PHOTO = 96, 128
# Of so many there is time for more pixels.
_FEW_PHOTOS = 5000
# Moves of images either way, as a share of their sides: two pixels of 32.
_SHIFT = 0.0625
# Of fewer images the tenth that is held out is too small to choose a checkpoint by.
_FEW_IMAGES = 1000
# So many images of this side and less are shown in all; of larger ones, which take longer, fewer, but so many.
_SMALL, _N_SMALL, _N_LARGE = 32, 180_000, 60_000
# So many lines of validations are read; where passes are short, several make one.
_MOST_VALIDATIONS = 20


@dataclass(frozen=True)
class Habit:
    """`model` are settings of the network, without its name, `data` such of the data, `training` further ones of the
    training; `passes` says how many examples are shown in all, at least and at most how many times each."""

    model: dict[str, Any]
    optimizer: dict[str, Any]
    batch_size: int
    n_shown: int
    passes: tuple[int, int]
    best: str = "val_loss"
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def epochs(self, n_train: int) -> int:
        fewest, most = self.passes
        return min(max(round(self.n_shown / max(n_train, 1)), fewest), most)

    def validate_every(self, n_steps: int, epochs: float) -> int | str:
        return "epoch" if epochs <= _MOST_VALIDATIONS else max(1, round(n_steps / _MOST_VALIDATIONS))

    def explain_epochs(self, noun: str) -> str:
        fewest, most = self.passes
        if not self.n_shown:
            return f"{most} passes, as tutorials have it"
        return f"about {self.n_shown:,} {noun} in all, at least {fewest} and at most {most} passes"


def find_habit(name: str, n_train: int, image_shape: tuple[int, int, int] | None = None) -> Habit:
    """Of a network trained on `n_train` examples; of one for images, which are of `image_shape` (height, width,
    channels)."""
    if is_own(name):  # as tutorials train theirs
        return Habit({}, {"name": "adam", "learning_rate": 1e-3}, min(32, n_train), 0, (10, 10))
    return _HABITS[name](n_train) if image_shape is None else _find_image_habit(name, n_train, image_shape)


def _find_image_habit(name: str, n_train: int, image_shape: tuple[int, int, int]) -> Habit:
    """Small sets get smaller batches and more passes."""
    side = min(image_shape[:2])
    if name == PRETRAINED:
        return _pretrained(n_train, side)
    batch_size = 128 if n_train >= 4000 else 64 if n_train >= 1000 else 16
    model, reasons = {"cnn": _size_cnn, "resnet": _size_resnet, AIRBENCH: _size_airbench}[name](side)
    data, why = _choose_augment(image_shape)
    n_shown = min(max(_N_SMALL * _SMALL**2 // side**2, _N_LARGE), _N_SMALL)
    reasons = {**reasons, **why}
    best = "val_loss"
    if n_train < _FEW_IMAGES:
        best, reasons["training.best"] = "last", "the few images of validation would choose by chance"
    habit = Habit(model, _adamw(2e-3), batch_size, n_shown, (6, 100), best, data, reasons=reasons)
    return _with_muon(habit, n_train) if name == AIRBENCH else habit


def _with_muon(habit: Habit, n_train: int) -> Habit:
    """As airbench is trained: its steps are long, and its batches may be large."""
    optimizer = {
        "name": "muon",
        "learning_rate": 0.24,
        "schedule": "linear",
        "momentum": 0.6,
        "bias_learning_rate": 10.0,
        "head_learning_rate": 0.03,
        "weight_decay": 0.001,
        "warmup_steps": 0,
    }
    training = {"label_smoothing": 0.1}
    batch_size = 512 if n_train >= 16_000 else 128 if n_train >= 2000 else max(1, min(64, n_train // 2))
    return replace(habit, optimizer=optimizer, batch_size=batch_size, training=training)


def _choose_augment(image_shape: tuple[int, int, int]) -> tuple[dict[str, Any], dict[str, str]]:
    """Moved a little; in colour mirrored, too. What is gray may be letters or digits, which mirroring changes."""
    if image_shape[2] != 3:
        return {"augment": {"shift": _SHIFT}}, {}
    reason = "photos mean the same when mirrored; `false` for letters and signs"
    return {"augment": {"flip": True, "shift": _SHIFT}}, {"data.augment.flip": reason}


def _size_cnn(side: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Blocks halve the image until about 4 to 7 pixels are left."""
    n_blocks = min(max(int(math.log2(max(side, 8) / 4)), 1), 5)
    filters = [min(32 * 2**block, 128) for block in range(n_blocks)]
    left = side // 2**n_blocks
    model = {
        "filters": filters,
        "batch_norm": True,
        "pool_first": True,
        "dropout": 0.3,
        "global_pool": "none" if left**2 * filters[-1] <= 8192 else "average",
        "initializer": "he_normal",
    }
    return model, {"model.filters": f"halved {n_blocks}x, {side} pixels become {left}"}


def _size_airbench(side: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Groups halve the image until about 3 pixels are left."""
    n_groups = min(max(round(math.log2(max(side, 7) / 3.5)), 1), 5)
    model = {"filters": [16, 64, 64, 128, 128][:n_groups], "activation": "relu"}
    left = (side - 1) // 2**n_groups
    return model, {"model.filters": f"halved {n_groups}x, {side} pixels become {left}"}


def _size_resnet(side: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Stages halve the image until about 7 to 13 pixels are left."""
    n_stages = min(max(int(math.log2(max(side, 7) / 7)) + 1, 1), 5)
    filters = [min(32 * 2**stage, 256) for stage in range(n_stages)]
    reason = f"halved {n_stages - 1}x, {side} pixels become {side // 2 ** (n_stages - 1)}"
    return {"filters": filters, "blocks": 2}, {"model.filters": reason}


def _pretrained(n_train: int, side: int) -> Habit:
    """Only the output learns: passes over features that are computed once cost little."""
    model: dict[str, Any] = {"dropout": 0.3}
    reasons = {}
    if side < _SMALL_PHOTO:
        model["input_size"] = _SMALL_PHOTO if n_train > _FEW_PHOTOS else _LARGER_PHOTO
        reasons["model.input_size"] = f"a backbone sees little in images of {side} pixels: they are enlarged"
    return Habit(model, _adamw(1e-3), _choose_batch(n_train, most=128), 300_000, (10, 30), reasons=reasons)


def explain_scarcity(n_train: int, n_classes: int, noun: str) -> str | None:
    """What is to be said of data that is too small to learn from; `n_classes` 0 where a number is learnt."""
    if n_train >= _FEWEST * max(n_classes, 2):
        return None
    more = "some hundred of each class" if n_classes else "some hundred"
    return (
        f"{n_train:,} training {noun} are too few to learn what holds for others: take the figures for chance, and "
        f"collect {more}"
    )


def _choose_batch(n_train: int, *, most: int = 256) -> int:
    """Small data has small batches, so that there are steps enough; never more than half of it."""
    batch_size = 16 if n_train < 500 else 64 if n_train < 5000 else 256
    return max(1, min(batch_size, most, n_train // 2))


def _adamw(rate: float, decay: float = 0.01) -> dict[str, Any]:
    return {"name": "adamw", "learning_rate": rate, "schedule": "cosine", "weight_decay": decay}


def _bag_of_ngrams(n_train: int) -> Habit:
    """A convex loss: the step is as long as it can be, and the decay that of logistic regression with C = 2 (beside a
    momentum of 0.9, which makes steps ten times as long, and with two outputs where that has one)."""
    decay = round(min(max(5 / max(n_train, 1), 1e-5), 0.05), 6)
    optimizer = {"name": "sgd", "learning_rate": 1.0, "schedule": "cosine", "weight_decay": decay}
    reason = f"5 over {n_train:,} texts: that of logistic regression with C = 2"
    batch_size = _choose_batch(n_train, most=64)
    reasons = {"training.optimizer.weight_decay": reason, "training.best": "a convex loss is lowest at the end"}
    return Habit({}, optimizer, batch_size, 120_000, (2, 20), "last", reasons)


def _bag_of_words(n_train: int) -> Habit:
    return Habit({"dropout": 0.5}, _adamw(5e-3), _choose_batch(n_train), 60_000, (2, 12))


def _rnn(n_train: int) -> Habit:
    model = {"embedding": 64, "cell": "gru", "units": 64, "bidirectional": True, "dropout": 0.5}
    return Habit(model, _adamw(2e-3), _choose_batch(n_train, most=64), 25_000, (2, 12))


def _textcnn(n_train: int) -> Habit:
    model = {"embedding": 64, "filters": [64, 64, 64], "dropout": 0.5}
    return Habit(model, _adamw(1e-3), _choose_batch(n_train, most=64), 33_000, (2, 12))


def _transformer(n_train: int) -> Habit:
    model = {"embedding": 64, "heads": 4, "blocks": 2, "dropout": 0.3}
    return Habit(model, _adamw(1e-3), _choose_batch(n_train, most=64), 25_000, (2, 12))


def _linear(n_train: int) -> Habit:
    return Habit({}, _adamw(1e-2), _choose_batch(n_train), 400_000, (4, 60))


def _mlp(n_train: int) -> Habit:
    return Habit({"dense": [128, 64], "dropout": 0.2}, _adamw(2e-3), _choose_batch(n_train), 400_000, (4, 60))


def _tabm(n_train: int) -> Habit:
    """Longer on small data only: on a thousand rows 40 passes are half a point worse than 20."""
    model = {"dense": [128, 128], "dropout": 0.2, "members": 32}
    return Habit(model, _adamw(2e-3), _choose_batch(n_train), 400_000, (4, 40 if n_train < 500 else 20))


_HABITS: dict[str, Callable[[int], Habit]] = {
    "bag_of_ngrams": _bag_of_ngrams,
    "bag_of_words": _bag_of_words,
    "rnn": _rnn,
    "textcnn": _textcnn,
    "transformer": _transformer,
    "linear": _linear,
    "mlp": _mlp,
    "tabm": _tabm,
}

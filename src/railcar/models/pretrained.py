"""Transfer learning: a backbone of `keras.applications` that has learnt from many photos, and a new output on top.

uint8 [n, any height, any width, 1 or 3] -> float32 logits [n, n_classes], with what the backbone wants done to pixels
inside. Owns the architecture, the weights it begins with, and where it is cut into a part that stays as it is and one
that is trained. That the first part needs to be computed only once is `workflows/encoding.py`'s business.
"""

from __future__ import annotations

import hashlib
import io
import math
import random
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from math import prod
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from railcar.artifact.keras_file import check_weights_file
from railcar.errors import ForeignArtifact, RecipeError, WeightsMissing
from railcar.layers.images import AdaptChannels, ResizeImages, ScaleImages
from railcar.layers.raw import NETWORK, NUMBERS
from railcar.models.dense import add_dense, add_logits, draw_seeds
from railcar.registry import BACKBONES, find_input_size
from railcar.storage.local import find_here

layers = keras.layers

FROZEN, TUNED, KEPT, POOL, STANDARDIZE = "frozen", "tuned", "kept", "global_pool", "standardize"
# Mean and deviation of ImageNet's pixels, 0 to 255, as keras.applications.imagenet_utils.preprocess_input has them.
_MEANS = {
    "tf": (127.5,) * 3,
    "torch": (123.675, 116.28, 103.53),
    "caffe": (103.939, 116.779, 123.68),
    "own": (0.0,) * 3,
}
_STDS = {"tf": (127.5,) * 3, "torch": (58.395, 57.12, 57.375), "caffe": (1.0,) * 3, "own": (1.0,) * 3}
# Cuts this share of the layers below the wanted one are considered, too: the one with the fewest numbers is taken.
_NEAR = 0.05
_N_AT_ONCE = 64
_DOWNLOAD_TIMEOUT_S = 20.0


def build_pretrained(
    *,
    image_shape: tuple[int, int, int],
    n_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    fit: str = "stretch",
    dtype: str = "float32",
    seed: int = 0,
    backbone: str = "MobileNetV2",
    weights: str = "imagenet",
    input_size: int | None = None,
    fine_tune: Mapping[str, float] | None = None,
    dense: Sequence[int] = (),
    activation: str = "relu",
    dropout: float = 0.0,
    is_fresh: bool = False,
) -> keras.Model:
    """The backbone without its top, the average over all places, dense layers, dropout and logits. What a backbone
    gives is standardised (`adapt_standardization`) and the last layer starts at zero: on 1,000 images that is worth
    four points.

    The layer `frozen` stays as it is; `tuned`, with `fine_tune`, is the top of the backbone (its normalisation stays as
    it is, too); with `weights` "none" all is trained. `weights` are read only if `is_fresh`: others come from a
    checkpoint. `mean` and `std` of the data count for nothing: the backbone has its own. Raises `RecipeError` for
    images that are too small for it and for weights that do not fit, and `WeightsMissing` for those that cannot be
    downloaded.
    """
    height, width = find_input_size(image_shape, input_size)
    check_size(backbone, height, width)
    pixels, seeds = BACKBONES[backbone].pixels, draw_seeds(seed)
    images = keras.Input((None, None, image_shape[2]), dtype="uint8", name="image")
    hidden = ResizeImages(*image_shape[:2], fit, name="resize")(images)
    if (height, width) != image_shape[:2]:
        hidden = ResizeImages(height, width, name="enlarge")(hidden)
    hidden = AdaptChannels(is_reversed=pixels == "caffe", name="channels")(hidden)
    hidden = ScaleImages(_MEANS[pixels], _STDS[pixels], dtype=dtype, name="scale")(hidden)
    whole = _build_backbone(backbone, (height, width), dtype, seed)
    if is_fresh:
        _read_weights(whole, backbone, weights, (height, width))
    frozen, tuned = _cut(whole, 1.0 if weights == "none" else fine_tune["share"] if fine_tune else 0.0)
    if frozen:
        hidden = frozen(hidden, training=False)
    if tuned and weights != "none":
        _freeze_normalisation(tuned)
    pool = layers.GlobalAveragePooling2D(dtype=dtype, name=POOL)
    if tuned is None:
        hidden = pool(hidden)
    hidden = layers.Identity(dtype=dtype, name=KEPT)(hidden)
    numbers = keras.Input(hidden.shape[1:], dtype=hidden.dtype, name=NUMBERS)
    inner: Any = pool(tuned(numbers)) if tuned else numbers
    if weights != "none":
        standardize = layers.BatchNormalization(center=False, scale=False, dtype="float32", name=STANDARDIZE)
        standardize.trainable = False
        inner = standardize(inner)
    inner = add_dense(inner, dense, activation, dropout, dtype=dtype, seeds=seeds)
    network = keras.Model(numbers, add_logits(inner, n_classes, seeds=seeds, is_zero=not dense), name=NETWORK)
    return keras.Model(images, network(hidden), name="pretrained")


def fetch_weights(backbone: str, weights: str, image_shape: tuple[int, int, int], input_size: int | None) -> None:
    """Have the weights on this computer, before anything is begun with them. Raises `WeightsMissing`."""
    if weights == "imagenet":
        size = find_input_size(image_shape, input_size)
        check_size(backbone, *size)
        _download(backbone, size)


def check_size(backbone: str, height: int, width: int) -> None:
    """Raise `RecipeError` for images that are too small for a backbone."""
    smallest = BACKBONES[backbone].smallest
    if min(height, width) < smallest:
        raise RecipeError(
            f"model.backbone: {backbone} takes images of {smallest}x{smallest} pixels and more, got {height}x{width}",
            hint=f"set model.input_size to {max(smallest, 96)}: they are enlarged inside the network",
        )


def split_frozen(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """`model` as two, with the same variables: what stays as it is, from images to numbers [n, ...], and what is
    trained, from these to logits. None where all of it is trained."""
    names = _names(model)
    if FROZEN not in names:
        return None
    return keras.Model(model.inputs[0], model.get_layer(KEPT).output, name="encoder"), model.get_layer(NETWORK)


def adapt_standardization(model: keras.Model, read: Callable[[], NDArray[Any]]) -> None:
    """Set the mean and the deviation of what a backbone gives, from examples: `read` returns what `model` takes of
    some, be it the whole or its trained part. Does nothing to other networks."""
    parts = split_frozen(model)
    network = parts[1] if parts else model
    if STANDARDIZE not in _names(network):
        return
    layer = network.get_layer(STANDARDIZE)
    before = keras.Model(network.inputs[0], layer.input)
    examples = read()
    found = []
    for start in range(0, len(examples), _N_AT_ONCE):
        part: Any = examples[start : start + _N_AT_ONCE]
        found.append(np.asarray(before(parts[0](part, training=False) if parts else part, training=False), np.float64))
    numbers = np.concatenate(found)
    layer.moving_mean.assign(numbers.mean(0))
    layer.moving_variance.assign(numbers.var(0))


def list_tuned(model: keras.Model) -> list[Any]:
    """The variables of the backbone that are trained, of a network with pre-trained weights or of its trained part."""
    network = model.get_layer(NETWORK) if NETWORK in _names(model) else model
    return network.get_layer(TUNED).trainable_variables if TUNED in _names(network) else []


def _build_backbone(name: str, size: tuple[int, int], dtype: str, seed: int) -> keras.Model:
    """From scaled pixels [n, *size, 3] to its last feature map, with fresh weights."""
    before, state = keras.config.dtype_policy(), random.getstate()
    keras.config.set_dtype_policy(dtype)
    random.seed(seed)  # Keras draws a seed for each initializer that has none
    try:
        return getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(*size, 3))
    finally:
        keras.config.set_dtype_policy(before)
        random.setstate(state)


def _names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers]


def _cut(whole: keras.Model, share: float) -> tuple[keras.Model | None, keras.Model | None]:
    """The backbone in two: `frozen`, and `tuned`, about `share` of its layers from the end; None for no layers."""
    if share == 1.0:
        return None, keras.Model(whole.inputs[0], whole.outputs[0], name=TUNED)
    if share == 0.0:
        frozen = keras.Model(whole.inputs[0], whole.outputs[0], name=FROZEN)
        frozen.trainable = False
        return frozen, None
    order = list(whole.operations)
    wanted = max(math.floor((1 - share) * len(order)), 1)
    passes = _find_passes(order)
    near = [at for at in passes if wanted - _NEAR * len(order) <= at < wanted] or passes[:1]
    place = order[min(near, key=lambda at: (prod(order[at].output.shape[1:]), -at))].output
    frozen, tuned = keras.Model(whole.inputs[0], place, name=FROZEN), keras.Model(place, whole.outputs[0], name=TUNED)
    frozen.trainable = False
    return frozen, tuned


def _find_passes(order: Sequence[Any]) -> list[int]:
    """Places of the operations through which all must pass: nothing after one takes anything from before it."""
    places = {id(operation): at for at, operation in enumerate(order)}
    last_use = dict.fromkeys(places, 0)
    for at, operation in enumerate(order):
        for node in operation._inbound_nodes:
            for tensor in node.input_tensors:
                source = id(tensor._keras_history.operation)
                if source in places:
                    last_use[source] = max(last_use[source], at)
    found, reach = [], 0
    for at, operation in enumerate(order):
        if 0 < at < len(order) - 1 and reach <= at:
            found.append(at)
        reach = max(reach, last_use[id(operation)])
    return found


def _freeze_normalisation(part: keras.Model) -> None:
    """Batch normalisation keeps its statistics, scale and offset: with few images its own would be worse
    (https://keras.io/guides/transfer_learning, "Important notes about BatchNormalization layer")."""
    for layer in part.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def _read_weights(whole: keras.Model, name: str, weights: str, size: tuple[int, int]) -> None:
    if weights == "none":
        return
    if weights == "imagenet":
        for own, other in zip(whole.weights, _download(name, size).weights, strict=True):
            own.assign(other)
        _download.cache_clear()  # it is as large as the network
        return
    path = find_here(weights)
    if not path.is_file():
        raise RecipeError(f"model.weights: {weights}: there is no such file", hint="name a file, imagenet or none")
    before = [_digest(one) for one in whole.variables if len(one.shape) > 1]
    try:
        check_weights_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras only warns of what it does not find in the file
            whole.load_weights(path)
        after = [_digest(one) for one in whole.variables if len(one.shape) > 1]
        if left := sum(one == other for one, other in zip(before, after, strict=True)):
            raise ValueError(f"Expected: kernels for {len(before)} layers. Received: those of {len(before) - left}")
    except (ForeignArtifact, ValueError, OSError, KeyError) as error:
        what = " ".join(str(error).split())[:160]
        raise RecipeError(
            f"model.weights: {weights} are not weights of {name} without its top ({what})",
            hint=f"give a file that keras.applications.{name}(include_top=False).save_weights() writes",
        ) from error


def _digest(variable: Any) -> bytes:
    return hashlib.blake2b(variable.numpy().tobytes(), digest_size=16).digest()


@lru_cache(maxsize=1)
def _download(name: str, size: tuple[int, int]) -> keras.Model:
    """The backbone as Keras has it, from its cache or from the network."""
    # Keras tells of a download on stdout, which belongs to results.
    with _patience(_DOWNLOAD_TIMEOUT_S), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of sizes that a backbone was not trained at
        try:
            return getattr(keras.applications, name)(include_top=False, weights="imagenet", input_shape=(*size, 3))
        except Exception as error:  # Keras raises a plain Exception
            reason = str(error).rpartition(" -- ")[2] or type(error).__name__
            raise WeightsMissing(
                f"model.weights: the ImageNet weights of {name} cannot be downloaded ({reason.strip()})",
                hint="connect to the network once, give a file (model.weights: FILE), or train without: "
                "model.weights: none",
            ) from error


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Keras' download has no time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

"""A network of the user's own: `model.name: FILE.py:FUNCTION` or `module:FUNCTION`.

The function returns a keras.Model (Sequential, functional or subclassed, compiled or not) that takes batches of the
data: images float32 [n, height, width, channels] of 0 to 255, numbers of words int32 [n, length], or strings [n] where
the function asks for `texts`, rows float32 [n, numbers]. It answers with logits or probabilities [n, n_classes], of two
classes also [n, 1], or with a number [n, 1]. Owns finding the function, calling it, and what its answers mean; how a
compiled one is trained is `training/own.py`'s.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np

from railcar.errors import RecipeError
from railcar.layers.answers import ToLogits
from railcar.layers.images import ResizeImages, ScaleImages
from railcar.storage.local import find_here

TEXTS = "texts"
"""The argument by which a function says that its network takes strings."""
_N_PROBED = 16
# Keras prints its errors in bold.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class OwnFunction:
    """`path` is the file that it stands in, None for what has none."""

    name: str
    call: Callable[..., Any]
    path: Path | None

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.call).parameters)


def find_function(name: str) -> OwnFunction:
    """The function that `name` stands for; its file or module is run. Raises `RecipeError`."""
    place, _, attribute = name.rpartition(":")
    is_file = place.endswith(".py")
    module = _run_file(find_here(place)) if is_file else _import(place)
    function = getattr(module, attribute, None)
    if not callable(function):
        found = {key: value for key, value in vars(module).items() if inspect.isfunction(value)}
        there = [key for key, value in found.items() if value.__module__ == module.__name__]
        hint = f"its functions are: {', '.join(there)}" if there else "write one that returns a keras.Model"
        raise RecipeError(f"model.name: {place} has no function {attribute!r}", hint=hint)
    return OwnFunction(name, function, Path(module.__file__) if module.__file__ else None)


def build_own(
    name: str,
    *,
    kind: str,
    offered: Mapping[str, Any],
    options: Mapping[str, Any],
    seed: int,
    n_outputs: int,
    is_number: bool,
    scaling: tuple[Sequence[float], Sequence[float], str] | None = None,
) -> keras.Model:
    """The network around what the function of that `name` returns, from what stands for examples of `kind` to float32
    logits [n, n_outputs], of a regression (`is_number`) numbers [n, 1].

    `offered` are the arguments that the function may ask for by name, `options` those that the recipe hands over;
    `scaling` is of images what is subtracted and divided by, and how they come to size. Raises `RecipeError` for faults
    of the function, with its file and line, and for answers that do not fit.
    """
    function = find_function(name)
    keras.utils.set_random_seed(seed)
    inner = _guarded(function, function.call, **_choose_arguments(function, offered, options))
    if not isinstance(inner, keras.Model):
        raise RecipeError(
            f"model.name: {name} returned the wrong thing. Expected: a keras.Model. Received: {type(inner).__name__}",
            hint="end the function with: return model",
        )
    inputs, hidden = _build_inputs(kind, offered, scaling)
    answers = _guarded(function, inner, hidden)
    _check_answers(name, answers, n_outputs, is_number=is_number)
    if is_number:
        logits = keras.layers.Activation("linear", dtype="float32", name="answer")(answers)
    else:
        meaning = _find_meaning(inner, hidden, kind, offered)
        logits = ToLogits(n_outputs, meaning, name="answer")(answers)
    return keras.Model(inputs, logits, name="own")


def find_inner(network: keras.Model) -> keras.Model:
    """What the user's function returned, of a network that was made of it."""
    return network.layers[-2]


def split_preparation(network: keras.Model) -> keras.Model | None:
    """What comes before the user's network: images uint8 -> float32; None where he takes what the data gives."""
    names = [layer.name for layer in network.layers]
    return keras.Model(network.inputs[0], network.get_layer("scale").output) if names[1] == "resize" else None


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise RecipeError(f"model.name: {path}: there is no such file", hint="write it as FILE.py:FUNCTION")
    path = path.resolve()
    name = f"railcar_own_{path.stem}_{hashlib.sha256(bytes(path) + path.read_bytes()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"model.name: {path} is not a Python file", hint="write it as FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _find_beside(path.parent)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise _explain(str(path), error) from error
    return module


def _import(place: str) -> ModuleType:
    _find_beside(Path.cwd())
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and place.startswith(error.name):
            raise RecipeError(
                f"model.name: there is no module {place!r} here", hint="name a file: model.name: FILE.py:FUNCTION"
            ) from error
        raise _explain(place, error) from error
    except Exception as error:
        raise _explain(place, error) from error


def _find_beside(folder: Path) -> None:
    """A file may import its neighbours."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _choose_arguments(function: OwnFunction, offered: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function.call).parameters
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    strange = [key for key in options if key not in parameters and not takes_all]
    if strange:
        known = ", ".join(parameters) or "none"
        raise RecipeError(
            f"model.options: {function.name} has no argument {strange[0]!r}", hint=f"its arguments are: {known}"
        )
    given = {key: value() if callable(value) else value for key, value in offered.items() if key in parameters}
    given |= dict(options)
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    for name, one in parameters.items():
        if one.default is one.empty and one.kind in plain and name not in given:
            raise RecipeError(
                f"model.name: {function.name} asks for {name!r}, which is not known",
                hint=f"it may ask for {', '.join(offered)}; others come from model.options, or have a default",
            )
    return given


def _build_inputs(
    kind: str, offered: Mapping[str, Any], scaling: tuple[Sequence[float], Sequence[float], str] | None
) -> tuple[Any, Any]:
    if kind == "image":
        height, width, channels = offered["input_shape"]
        mean, std, fit = scaling or ((0.0,), (1.0,), "stretch")
        images = keras.Input((None, None, channels), dtype="uint8", name="image")
        hidden = ResizeImages(height, width, fit, name="resize")(images)
        return images, ScaleImages(tuple(mean), tuple(std), dtype="float32", name="scale")(hidden)
    if kind == "table":
        rows = keras.Input(offered["input_shape"], dtype="float32", name="row")
        return rows, rows
    texts = keras.Input(offered["input_shape"], dtype="int32" if offered["input_shape"] else "string", name="words")
    return texts, texts


def _guarded(function: OwnFunction, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    try:
        return call(*given, **named)
    except Exception as error:
        raise _explain(function.name, error) from error


def _explain(name: str, error: Exception) -> RecipeError:
    """An error of the user's code, with the last line of his own that led to it."""
    said = " ".join(_COLOURS.sub("", str(error)).split())[:240]
    ours = str(Path(__file__).resolve().parent.parent)
    frames = [
        one
        for one in traceback.extract_tb(error.__traceback__)
        if not one.filename.startswith(("<", ours))
        and "site-packages" not in one.filename
        and not one.filename.startswith((sys.prefix, sys.base_prefix))
    ]
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}, line {error.lineno}"
    else:
        where = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else name
    return RecipeError(f"model.name: {where}: {type(error).__name__}: {said}", hint="mend it there, and train again")


def _check_answers(name: str, answers: Any, n_outputs: int, *, is_number: bool) -> None:
    expected = "[n, 1]" if is_number else f"[n, {n_outputs}]" + (" or [n, 1]" if n_outputs == 2 else "")
    shape = getattr(answers, "shape", None)
    if isinstance(answers, dict | list | tuple) or shape is None:
        received = f"{len(answers)} outputs" if isinstance(answers, dict | list | tuple) else type(answers).__name__
        raise _misfit(name, expected, received)
    received = "[" + ", ".join("n" if one is None else str(one) for one in shape) + "]"
    if len(shape) != 2 or shape[1] is None:
        raise _misfit(name, expected, received)
    if shape[1] == n_outputs or (shape[1] == 1 and (is_number or n_outputs == 2)):
        return
    if not is_number and shape[1] < n_outputs:
        raise RecipeError(
            f"model.name: {name} answers with {shape[1]} number{'s'[: shape[1] != 1]}, and the data has {n_outputs} "
            f"classes. Expected: {expected}. Received: {received}",
            hint="let the function take n_classes, and its last layer have that many units",
        )
    raise _misfit(name, expected, received)


def _misfit(name: str, expected: str, received: str) -> RecipeError:
    return RecipeError(
        f"model.name: the answers of {name} do not fit. Expected: {expected}. Received: {received}",
        hint="let its last layer be Dense(n_classes), or of a regression Dense(1)",
    )


def _find_meaning(inner: keras.Model, hidden: Any, kind: str, offered: Mapping[str, Any]) -> str:
    """Whether answers are "logits" or "probabilities": by the loss that it was compiled with, by its last activation,
    else by what it answers to random input."""
    from_logits = getattr(getattr(inner, "loss", None), "from_logits", None)
    if from_logits is not None:
        return "logits" if from_logits else "probabilities"
    activation = _find_activation(inner)
    if activation is not None:
        return "probabilities" if activation in ("softmax", "sigmoid") else "logits"
    if str(hidden.dtype) == "string":
        examples: Any = np.array(["some words"] * _N_PROBED, object)
    else:
        shape, most = (_N_PROBED, *offered["input_shape"]), 255.0 if kind == "image" else 2.0
        examples = np.random.default_rng(0).uniform(0.0, most, shape).astype(hidden.dtype)
    answers = np.asarray(inner(keras.ops.convert_to_tensor(examples), training=False), np.float64)
    is_share = (answers >= 0).all() and (answers <= 1).all()
    adds_up = answers.shape[1] == 1 or np.allclose(answers.sum(axis=1), 1.0, atol=1e-3)
    return "probabilities" if is_share and adds_up else "logits"


def _find_activation(model: keras.Model) -> str | None:
    """The name of the last activation of a model that is made of connected layers; None where that is not known."""
    outputs = getattr(model, "outputs", None)
    if not outputs or not hasattr(outputs[0], "_keras_history"):
        return None
    layer = outputs[0]._keras_history.operation
    if isinstance(layer, keras.Model):
        return _find_activation(layer)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", None)

"""railcar: labelled data to a working deep-learning model with one command.

The public names are resolved when they are first used, so that `import railcar` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from railcar.api import cross_validate, evaluate, export, load, predict, report, serve, train, tune
    from railcar.recipe.load import load_recipe
    from railcar.recipe.schema import Recipe

_HOMES = {
    "Recipe": "railcar.recipe.schema",
    "cross_validate": "railcar.api",
    "evaluate": "railcar.api",
    "export": "railcar.api",
    "load": "railcar.api",
    "load_recipe": "railcar.recipe.load",
    "predict": "railcar.api",
    "report": "railcar.api",
    "serve": "railcar.api",
    "train": "railcar.api",
    "tune": "railcar.api",
}

__all__ = [
    "Recipe",
    "__version__",
    "cross_validate",
    "evaluate",
    "export",
    "load",
    "load_recipe",
    "predict",
    "report",
    "serve",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'railcar' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

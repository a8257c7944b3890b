"""A run as its report and its card tell of it: the plain contents of its JSON files. Reads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

SIDES = ("test", "validation", "train")
_NOUNS = {"image": ("image", "images"), "text": ("text", "texts"), "table": ("row", "rows")}


@dataclass(frozen=True)
class RunFacts:
    """`manifest`, `recipe`, `decisions` and `evaluation` as their files have them, empty where there is none.
    `reference` is what commands take for the run: its folder as seen from above its runs' folder, or its address."""

    name: str
    reference: str
    manifest: Mapping[str, Any]
    recipe: Mapping[str, Any]
    decisions: Mapping[str, Any]
    evaluation: Mapping[str, Any]

    @property
    def data(self) -> Mapping[str, Any]:
        return self.manifest.get("data") or {}

    @property
    def kind(self) -> str:
        return str(self.data.get("kind", "image"))

    @property
    def one(self) -> str:
        """What an example is called."""
        return _NOUNS.get(self.kind, ("example", "examples"))[0]

    @property
    def noun(self) -> str:
        """What several are called."""
        return _NOUNS.get(self.kind, ("example", "examples"))[1]

    @property
    def class_names(self) -> list[str]:
        return [str(name) for name in self.data.get("class_names") or ()]

    @property
    def is_regression(self) -> bool:
        return self.data.get("task") == "regression"

    @cached_property
    def side(self) -> str:
        """The split that its quality is told by; empty where nothing was measured."""
        return next((one for one in SIDES if self.evaluation.get(one)), "")

    @property
    def shown(self) -> Mapping[str, Any]:
        return self.evaluation[self.side] if self.side else {}

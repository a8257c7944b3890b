"""Where a training is: all that must survive a stop, apart from the variables. Owns its form in a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from railcar.runs.checkpoint import Checkpoint
from railcar.training.callbacks import BestScore, Ending


@dataclass
class Window:
    """What the steps since the last row of metrics.jsonl returned; part of a checkpoint, so that rows are exact."""

    losses: list[float] = field(default_factory=list)
    hits: float = 0.0
    seconds: float = 0.0

    def add(self, loss: float, hits: float, seconds: float) -> None:
        self.losses.append(loss)
        self.hits += hits
        self.seconds += seconds

    def clear(self) -> None:
        self.losses, self.hits, self.seconds = [], 0.0, 0.0

    def to_row(self, batch_size: int, measure: str) -> dict[str, float]:
        n_examples = len(self.losses) * batch_size
        return {
            "loss": float(np.mean(self.losses)),
            measure: self.hits / n_examples,
            "examples_per_s": round(n_examples / max(self.seconds, 1e-9), 1),
        }


@dataclass
class Progress:
    """Where a training is: all that must survive a stop, apart from the variables."""

    step: int = 0
    seconds_training: float = 0.0
    best: BestScore = field(default_factory=lambda: BestScore("last"))
    ending: Ending = field(default_factory=Ending)
    window: Window = field(default_factory=Window)

    def to_state(self) -> dict[str, Any]:
        parts = {"best": self.best, "ending": self.ending, "window": self.window}
        return {"seconds_training": self.seconds_training, **{name: asdict(part) for name, part in parts.items()}}

    def restore(self, checkpoint: Checkpoint) -> None:
        self.step = checkpoint.step
        self.seconds_training = float(checkpoint.state["seconds_training"])
        self.best = BestScore(**checkpoint.state["best"])
        self.ending = Ending(**checkpoint.state.get("ending", {}))
        self.window = Window(**checkpoint.state["window"])

"""What is said when a training breaks down: at which step, what is kept, and the likely causes, from what was seen.

Owns the words and the judgement. The loop decides when to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from railcar.errors import TrainingError

# A loss this many times the lowest of the last ones was on its way up before it broke.
_RISE = 1.5
_FIRST_STEPS = 20


@dataclass(frozen=True)
class Circumstances:
    """What a breakdown is judged by. `peak_rate` is the recipe's learning rate; `precision` and `scale` are as settled;
    `recent` are the finite losses of the steps before, oldest first; `saved_step` is that of the newest checkpoint."""

    run: str
    peak_rate: float
    precision: str
    scale: str
    recent: Sequence[float]
    saved_step: int | None


def find_bad_loss(losses: NDArray[np.float32]) -> int | None:
    """The index of the first of `losses` [n] that is not finite; None when all are."""
    bad = np.flatnonzero(~np.isfinite(losses))
    return int(bad[0]) if bad.size else None


def explain_bad_loss(step: int, loss: float, seen: Circumstances) -> TrainingError:
    """The loss of optimizer step number `step` was no number."""
    return _explain(f"step {step}: the loss is {loss}", step, seen)


def explain_bad_weights(step: int, key: str, seen: Circumstances) -> TrainingError:
    """After `step` steps the variable `key` (as in variables.npz) is spoilt, though the losses were numbers."""
    group, _, name = key.split("/", 2)
    owner = "network" if group == "model" else group
    return _explain(f"step {step}: the {owner}'s {name} is no longer finite, and is not saved", step, seen)


def _explain(what: str, step: int, seen: Circumstances) -> TrainingError:
    if seen.saved_step is None:
        kept = "no checkpoint was written yet"
    else:
        kept = f"the checkpoint of step {seen.saved_step} is intact"
    causes = "; ".join(_find_causes(step, seen))
    again = (
        "" if seen.saved_step is None else f"; go on from there with: railcar train --from {seen.run} --set KEY=VALUE"
    )
    return TrainingError(f"{what}; training cannot go on, and {kept}", hint=f"{causes}{again}")


def _find_causes(step: int, seen: Circumstances) -> list[str]:
    """Likely ones first."""
    lower = f"set training.optimizer.learning_rate to {seen.peak_rate / 10:g} (now {seen.peak_rate:g})"
    causes = []
    lowest = min(seen.recent, default=0.0)
    if seen.recent and seen.recent[-1] > _RISE * lowest:
        causes.append(f"the loss had risen from {lowest:.3g} to {seen.recent[-1]:.3g}: {lower}, or warmup_steps higher")
    elif step <= _FIRST_STEPS:
        causes.append(f"it broke among the first steps: {lower}, or warmup_steps higher")
    if seen.scale == "none":
        causes.append("pixels of 0 to 255 enter the network unscaled: set data.scale to standard")
    if seen.precision == "float16":
        causes.append("float16 ends at 65,504: set training.precision to bfloat16 or float32")
    return causes or [f"{lower}, or warmup_steps higher"]

"""When things happen: how many steps, and at which of them to log, validate and save. Arithmetic, no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_TARGET_CALL_S = 0.25
_MAX_CALL_BYTES = 64 * 2**20


@dataclass
class StepPlan:
    """`steps_per_call` None adapts: calls of about a quarter of a second, so that Ctrl-C and the bar stay prompt, of
    at most `max_steps_per_call` steps, so that the images of a call fit into memory.

    A chunk never crosses a validation or a checkpoint, so what is trained does not depend on its size; nor an end of
    `profile`, (steps done before the first that is traced, steps done after the last).
    """

    n_steps: int
    steps_per_epoch: float
    validate_every: int
    checkpoint_every: int
    log_every: int
    steps_per_call: int | None = None
    max_steps_per_call: int = 200
    profile: tuple[int, int] | None = None
    _adapted: int = field(default=1, repr=False)
    _n_calls: int = field(default=0, repr=False)

    def is_log(self, step: int) -> bool:
        return step % self.log_every == 0 or step == self.n_steps

    def is_validation(self, step: int) -> bool:
        return step % self.validate_every == 0 or step == self.n_steps

    def is_checkpoint(self, step: int) -> bool:
        return step % self.checkpoint_every == 0 or step == self.n_steps

    def chunks(self, step: int) -> Iterator[tuple[int, int]]:
        """(first step, number of steps) of each call from `step` steps done to the end."""
        while step < self.n_steps:
            every = (self.validate_every, self.checkpoint_every)
            borders = [one for one in self.profile or () if one > step]
            until = min([self.n_steps, *borders, *((step // one + 1) * one for one in every)])
            size = min(until - step, self.steps_per_call or self._adapted)
            yield step, size
            step += size

    @property
    def adapted(self) -> int:
        """Steps of the calls that come. Several workers set it to the chief's, so that their calls are alike."""
        return self._adapted

    @adapted.setter
    def adapted(self, n_steps: int) -> None:
        self._adapted = n_steps

    def learn_duration(self, n_steps: int, seconds: float) -> None:
        """Adapt the size of later chunks. The first call is not counted: it holds tracing and compilation."""
        self._n_calls += 1
        if self._n_calls > 1:
            fitting = int(_TARGET_CALL_S * n_steps / max(seconds, 1e-6))
            self._adapted = max(1, min(fitting, self.max_steps_per_call, self._adapted * 4))


def build_plan(
    *,
    n_train: int,
    batch_size: int,
    steps: int | None,
    epochs: float | None,
    validate_every: int | str,
    checkpoint_every: int | str,
    log_every: int | None,
    steps_per_call: int | None,
    example_bytes: int = 1,
) -> StepPlan:
    """`n_train` examples of `example_bytes`; "epoch" becomes the nearest number of steps; five epochs by default."""
    steps_per_epoch = n_train / batch_size
    n_steps = steps or max(1, round(steps_per_epoch * (epochs or 5)))
    epoch = max(1, round(steps_per_epoch))
    return StepPlan(
        n_steps=n_steps,
        steps_per_epoch=steps_per_epoch,
        validate_every=epoch if isinstance(validate_every, str) else validate_every,
        checkpoint_every=epoch if isinstance(checkpoint_every, str) else checkpoint_every,
        log_every=log_every or max(1, n_steps // 100),
        steps_per_call=steps_per_call,
        max_steps_per_call=max(1, min(200, _MAX_CALL_BYTES // (example_bytes * batch_size))),
    )

"""One bad input: how it is made, and all that is expected of the two commands that are given it.

In expected words `{data}` stands for the path or address that was given, `{runs}` for the folder of runs, and `{any}`
for what differs from time to time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bad_inputs.promises import Outcome

Finding = tuple[str, str, str]
"""Level, what and hint, as `railcar data check` tells them."""


class Unavailable(Exception):
    """This system cannot make the input: it has no right to mount a disk, or no server."""


@dataclass
class Trial:
    """What the commands get: `data` as it is typed, further words of `train`, variables of the environment.

    `mend` takes the obstacle away; what `again` says then goes on with what was kept."""

    data: str
    words: tuple[str, ...] = ("--dry-run",)
    environment: Mapping[str, str] = field(default_factory=dict)
    runs: Path | None = None
    mend: Callable[[], None] = lambda: None
    again: tuple[str, ...] = ()


Setting = Callable[[Path], AbstractContextManager[Trial]]
"""A folder of its own -> what the commands get; what was set up is taken down again."""


@dataclass(frozen=True)
class Row:
    """`number` is the promise's; `data` the name of what `make` writes, unless a `setting` does all of it.

    `error` and `hint` are said where it does not go well; `notes` are lines of `train` where it does (all that reading
    says of the data, where the outcome is OK). `findings` are the errors and warnings of `data check`, all of them;
    None stands for the error, where there is one. `named` must be in what both say. `n` and `classes` are what is
    left to learn from. `because` says why the outcome is another than what was promised."""

    number: int
    what: str
    outcome: Outcome
    data: str
    make: Callable[[Path], object] = lambda path: None
    error: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] | None = None
    named: str = ""
    n: int | None = None
    classes: tuple[str, ...] = ("cat", "dog")
    sets: tuple[str, ...] = ()
    setting: Setting | None = None
    because: str = ""

    @property
    def id(self) -> str:
        return f"{self.number}, {self.what}"

    @property
    def checked(self) -> tuple[Finding, ...]:
        """The errors and warnings that `data check` is to tell."""
        if self.findings is not None:
            return self.findings
        return (("error", self.error, self.hint),) if self.error else ()

    @property
    def is_refused_by_check(self) -> bool:
        return any(level == "error" for level, _, _ in self.checked)

    @property
    def expected_check(self) -> Outcome:
        """What `data check` comes to: where the data is as it should be, it says so."""
        return "OK" if self.findings == () and self.error else self.outcome

    @contextmanager
    def trial(self, folder: Path) -> Iterator[Trial]:
        """Everything set up below `folder`. Raises `Unavailable`."""
        if self.setting is not None:
            with self.setting(folder) as trial:
                yield trial
            return
        path = folder / self.data
        self.make(path)
        yield Trial(str(path))


def pattern_of(expected: str, trial: Trial) -> re.Pattern[str]:
    """What matches `expected` and nothing else."""
    filled = expected.replace("{data}", trial.data).replace("{runs}", str(trial.runs))
    return re.compile(".+?".join(map(re.escape, filled.split("{any}"))))


def squeeze(text: str) -> str:
    """Without spaces and line breaks: however it was folded."""
    return "".join(text.split())

"""What the doctor found, as plain records: findings with their mends, labels in doubt, and the numbers of the data.

Owns the form of a diagnosis and its JSON. What is looked for is `doctor.py`'s, numbers are `summary.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from railcar.data.summary import Summary

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Example:
    """One example: number `index` of the split `split`; `name` is its file, or its file and line."""

    split: str
    index: int
    name: str


@dataclass(frozen=True)
class Finding:
    """`level`: of an "error" training would refuse the data, a "warning" deserves a look, a "note" is good to know.
    `code` is its kind, one stable word; `what` names files or lines, `hint` is the mend; `examples` are the first few
    that it is about, those that belong together side by side, and `n` is how many there are in all. `details` are lines
    about what is no example: files that cannot be read, each with its reason."""

    level: Level
    code: str
    what: str
    hint: str = ""
    n: int = 1
    examples: tuple[Example, ...] = ()
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suspect:
    """An example whose `label` may be wrong: a cheap model says `suggested`, with `confidence` 0 to 1 (None for the
    number of a regression)."""

    example: Example
    label: str
    suggested: str
    confidence: float | None


@dataclass(frozen=True)
class Diagnosis:
    """All that is known of a source. Where it was refused, `kind`, `task` and `form` may be empty and `summary` None.
    `seen` are the lines that reading it gave: what was found, and why; `suspects` are labels in doubt."""

    source: str
    form: str = ""
    kind: str = ""
    task: str = ""
    label: str = ""
    class_names: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    summary: Summary | None = None
    findings: tuple[Finding, ...] = ()
    suspects: tuple[Suspect, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether training would take it."""
        return not any(one.level == "error" for one in self.findings)

    def count(self, level: Level) -> int:
        return sum(one.level == level for one in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values, with stable keys (`docs/guides/checking-data.md`)."""
        document = {
            "source": self.source,
            "usable": self.is_usable,
            "form": self.form or None,
            "kind": self.kind or None,
            "task": self.task or None,
            "label": self.label or None,
            "classes": list(self.class_names),
            "seen": list(self.seen),
            "counts": {f"{level}s": self.count(level) for level in LEVELS},
            "findings": [asdict(one) for one in self.findings],
            "suspects": [asdict(one) for one in self.suspects],
        }
        return document | {"data": self.summary.to_json(self.class_names) if self.summary else None}


def sort_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Errors first, notes last; within a level in their order."""
    return tuple(sorted(findings, key=lambda one: LEVELS.index(one.level)))

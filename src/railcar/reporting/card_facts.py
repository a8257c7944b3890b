"""What a model card is written from, the plain contents of a run's JSON files, and how it spells things. No files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from railcar.reporting.run_facts import RunFacts

# Control characters but white space, zero-width ones, and those that set the direction of writing.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


@dataclass(frozen=True)
class CardFacts(RunFacts):
    """`encoding` as its file has it, empty where there is none. `notes` is what somebody has written below the card."""

    encoding: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""

    @property
    def is_remote(self) -> bool:
        return "://" in self.reference

    @property
    def source(self) -> str:
        """What the data is called: the last part of a path, which says nothing of whose computer it was on."""
        source = str(self.data.get("source") or "unknown data")
        return PurePath(source.rstrip("/").replace("\\", "/")).name or source


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown: the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join([" --- ", *[" ---: "] * (len(head) - 1)]) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(escape, row)) + " |" for row in rows)])


def escape(text: str) -> str:
    """Text of the data in a cell or a line of Markdown."""
    plain = clean(text).replace("\\", "\\\\").replace("://", "\\://")
    return re.sub(r"[|*`<\[#~]|(?<!\w)_|_(?!\w)", r"\\\g<0>", plain)


def code(text: Any) -> str:
    """Text of the data as code: within more backticks than it has."""
    plain = clean(str(text)) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", plain)), default=0) + 1)
    room = " " if "`" in plain else ""
    return f"{fence}{room}{plain}{room}{fence}".replace("|", "\\|")


def clean(value: Any) -> Any:
    """Texts in one line each, without what turns other text round or cannot be seen; of lists and objects, all in
    them."""
    if isinstance(value, str):
        return " ".join(_UNSEEN.sub("", value).split()).replace("<!--", "<! --")
    if isinstance(value, Mapping):
        return {clean(key): clean(one) for key, one in value.items()}
    return [clean(one) for one in value] if isinstance(value, list | tuple) else value


def spell_number(value: float) -> str:
    """Four digits, more before the point: 22.86, 1,234, 0.003412."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

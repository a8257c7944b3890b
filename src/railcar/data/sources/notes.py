"""What is told of the images of a source: which were skipped and why, which were repaired. Names are shown as they are,
whatever their bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from railcar.errors import DataError
from railcar.storage.images import REMARKS

MAX_NAMED = 5


@dataclass
class Notes:
    """What was skipped, with the reason, and what was repaired or accepted: key of `REMARKS` -> names."""

    bad: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)

    def copy(self) -> Notes:
        return Notes(dict(self.bad), {key: list(names) for key, names in self.remarks.items()})

    def become(self, other: Notes) -> None:
        self.bad, self.remarks = other.bad, other.remarks

    def remark(self, key: str, name: str) -> None:
        self.remarks.setdefault(key, []).append(name)

    def check(self, n_images: int, max_bad: float) -> None:
        """Raise `DataError` when more than the share `max_bad` of the images is bad."""
        if len(self.bad) <= max_bad * n_images:
            return
        name, reason = next(iter(self.bad.items()))
        raise DataError(
            f"{name}: {reason}; {len(self.bad):,} of {n_images:,} images cannot be read",
            hint=f"mend or remove them, or set data.max_bad to {min(1.0, len(self.bad) / n_images + 0.005):.2f}",
        )

    def describe(self) -> tuple[str, ...]:
        """One line each, with the number and the first names."""
        lines = [
            f"{count_images(len(self.remarks[key]))} {says[len(self.remarks[key]) > 1]}: {name_some(self.remarks[key])}"
            for key, says in REMARKS.items()
            if key in self.remarks
        ]
        if self.bad:
            named = "; ".join(f"{name}: {reason}" for name, reason in list(self.bad.items())[:MAX_NAMED])
            more = ", …" if len(self.bad) > MAX_NAMED else ""
            lines.append(f"skipped {len(self.bad):,} unreadable: {named}{more}")
        return tuple(lines)


def count_images(n: int) -> str:
    return "1 image" if n == 1 else f"{n:,} images"


def name_some(names: Sequence[str]) -> str:
    """The first names, for a note."""
    return ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")


def show_name(name: str) -> str:
    """A file's name in a form that can be printed and kept, whatever its bytes are: "caf\\xe9.png"."""
    try:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # no name of a file: a table or a pack has it
        return name.encode("utf-8", "backslashreplace").decode()


def is_utf8(name: str) -> bool:
    if name.isascii():
        return True
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

"""The reference page of bad inputs, written from the table: what each one gets, in the words that a user reads."""

from __future__ import annotations

from tests.bad_inputs.promises import MEANINGS, SECTIONS
from tests.bad_inputs.row import Row
from tests.bad_inputs.table import ALL_ROWS

NOTICE = "<!-- Made by docs/generate_reference.py from tests/bad_inputs: change it there. -->"
INTRODUCTION = """\
What `railcar train DATA` does with data that is not as it should be, and with a machine that gives out. Every message
names the file or the line; none is a traceback. The tests make each of these inputs and compare the words.

- **Refused**: before anything is trained, with exit status 1.
- **Skipped**: not read, named and counted. More than `data.max_bad` (1%) of all examples are refused.
- **Accepted, and said**: repaired or taken as it is, with a line that names it.
- **Read**: silently right.
- **Stops, and can go on**: what was trained or fetched until then is kept, and the message says how to go on.

`railcar data check DATA` says the same of the data, goes on past what it can, and ends with exit status 1 when training
would refuse it. `photos`, `pets.csv` and the like stand for the path that was given, `…` for what differs from time to
time.

Models are those of `railcar predict --artifact DIR`; rows 73 to 77 are of recipes, whose faults are told together.

`python -m tests.bad_inputs` gives all data to both commands and prints a table of what came."""


def write_page() -> str:
    parts = [NOTICE, "# Bad inputs", INTRODUCTION]
    for title, numbers in SECTIONS.items():
        lines = ["| Row | Input | What happens | What is said |", "| --- | --- | --- | --- |"]
        lines += [_line(row) for row in ALL_ROWS if row.number in numbers]
        parts += [f"## {title}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _line(row: Row) -> str:
    cells = (str(row.number), row.what, MEANINGS[row.outcome], _words(row))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _words(row: Row) -> str:
    if row.error:
        return f"{_code(row, f'error: {row.error}')}<br>{_code(row, f'hint: {row.hint}')}"
    if row.outcome == "OK":
        return ""
    return "<br>".join(_code(row, note) for note in row.notes)


def _code(row: Row, text: str) -> str:
    shown = text.replace("{data}", row.data).replace("{runs}", "runs").replace("{any}", "…")
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"

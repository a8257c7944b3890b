"""The table of figures in docs/concepts/performance.md, made of the results between its two marks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.machine import machine_line

PAGE = Path(__file__).resolve().parents[2] / "docs" / "concepts" / "performance.md"
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
Describe = Callable[[dict[str, Any]], list[tuple[str, ...]]]


def write_figures(results: Path, describe: dict[str, Describe], page: Path) -> None:
    """Replace what stands between the marks of `page`; rows in the order of `describe`. Nothing without results."""
    documents = [json.loads(path.read_text()) for name in describe if (path := results / f"{name}.json").is_file()]
    if not documents:
        return
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    page.write_text(before + BEGIN + format_figures(documents, describe) + "\n" + END + after, encoding="utf-8")


def format_figures(documents: list[dict[str, Any]], describe: dict[str, Describe]) -> str:
    """The machines, each with its table."""
    by_machine: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        by_machine.setdefault(machine_line(document["machine"]), []).append(document)
    parts = []
    for machine, rows in by_machine.items():
        lines = ["| what | railcar | peer | ratio | row |", "|---|---|---|---|---|"]
        for row in rows:
            lines += [f"| {' | '.join(line)} | `{row['row']}` |" for line in describe[row["row"]](row["measured"])]
        parts.append(f"{machine}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)

"""The frame of every page that railcar writes: one file that opens without a network, runs no script, and says so to
the browser. What stands in it is the pages' own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from railcar import __version__
from railcar.reporting.page_style import STYLE
from railcar.reporting.tables import cut_name

# Nothing is loaded from anywhere; pictures and styles are in the file.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render_page(title: str, parts: Sequence[str], *, command: str) -> str:
    """A whole page of `parts`, which are HTML already; `command` is what wrote it, for the foot."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{"".join(parts)}
<footer>railcar {__version__}, <code>{escape(command)}</code></footer>
</main>
</body>
</html>
"""


def render_section(title: str, body: str, *, about: str = "", anchor: str = "") -> str:
    """A heading and what is below it; nothing where `body` is empty. `about` is a sentence between the two."""
    if not body:
        return ""
    lead = f'<p class="about">{escape(about)}</p>' if about else ""
    name = f' id="{escape(anchor)}"' if anchor else ""
    return f"<section{name}><h2>{escape(title)}</h2>{lead}{body}</section>\n"


def render_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "cells") -> str:
    """`head` is text, the cells of `rows` are HTML; the first of each row is its heading."""
    heads = "".join(f"<th>{escape(one)}</th>" for one in head)
    lines = "".join(f"<tr><th>{first}</th>{''.join(f'<td>{one}</td>' for one in rest)}</tr>" for first, *rest in rows)
    return f'<div class="scroll" tabindex="0"><table class="{kind}"><tr>{heads}</tr>{lines}</table></div>'


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def render_name(name: str, width: int) -> str:
    """A name as HTML, cut in its middle, as names often differ at their ends; the whole of it shows when pointed at."""
    short = cut_name(name, width)
    return escape(name) if short == name else f'<span title="{escape(name)}">{escape(short)}</span>'

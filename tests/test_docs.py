"""The examples of README.md and docs/ are run, page by page, in an empty folder.

`<!-- run -->` on the line before a fenced block of bash or python says that the block is run. What else stands in the
comment is added to each `railcar train` of the block, so that an example need not train for as long as the page's
reader would: `<!-- run --set training.steps=20 -->`. A comment that starts with `<!-- first` holds bash that is run
before the next block and that readers do not see: it makes the files which the page takes for granted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 120
EXAMPLE = re.compile(
    r"""
    ^[ ]*<!--[ ]first\n (?P<setup>.*?) -->$
    |
    ^(?P<indent>[ ]*)<!--[ ]run (?P<arguments>[^\n]*?) [ ]?-->\n+
    (?P=indent)```(?P<language>bash|python)[^\n]*\n
    (?P<code>.*?)
    ^(?P=indent)```$
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
# Up to a comment: what is added comes last, and so wins over what the page sets.
TRAIN_LINE = re.compile(r"^railcar train\b(?:[^#\n]*[^#\s])?", re.MULTILINE)


class Example(NamedTuple):
    language: str
    code: str


def find_examples(text: str) -> list[Example]:
    """The blocks of a page that are to be run, in order."""
    examples = []
    for match in EXAMPLE.finditer(text):
        if match["setup"]:
            examples.append(Example("bash", match["setup"]))
            continue
        code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        if match["arguments"].strip():
            code = TRAIN_LINE.sub(rf"\g<0> {match['arguments'].strip()}", code)
        examples.append(Example(match["language"], code))
    return examples


PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
PAGES_WITH_EXAMPLES = [path for path in PAGES if find_examples(path.read_text())]


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_the_examples_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAILCAR_RUNS": str(tmp_path / "runs"),
        "PROJECT": str(PROJECT),
    }
    for language, code in find_examples(page.read_text()):
        command = ["bash", "-euo", "pipefail", "-c", code] if language == "bash" else [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )

        assert done.returncode == 0, f"{page.name}: this example failed:\n{code}\n{done.stdout}\n{done.stderr}"


def test_every_comment_that_says_run_belongs_to_an_example() -> None:
    n_comments = sum(len(re.findall(r"^\s*<!-- (?:run|first)\b", page.read_text(), re.MULTILINE)) for page in PAGES)
    n_examples = sum(len(find_examples(page.read_text())) for page in PAGES)

    assert n_comments == n_examples
    assert n_examples > 0


def test_arguments_of_the_comment_reach_the_command_only() -> None:
    page = "text\n<!-- run --set training.steps=2 -->\n```bash\nrailcar train photos/\nrailcar runs list\n```\n"

    assert find_examples(page) == [Example("bash", "railcar train photos/ --set training.steps=2\nrailcar runs list\n")]


def test_no_page_links_to_a_file_that_is_not_there() -> None:
    missing = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not (page.parent / target).exists():
                missing.append(f"{page.name}: {target}")

    assert missing == []

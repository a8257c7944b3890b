"""The examples of README.md and docs/ are run, page by page, in an empty folder.

`<!-- run -->` on the line before a fenced block of bash or python says that it is run. With `<!-- run quickly -->`
each `railcar train` of the block is run for a few steps only, while the page shows what its reader would type.
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
    ^(?P<indent>[ ]*)<!--[ ]run(?P<is_quick>[ ]quickly)?[ ]-->\n+
    (?P=indent)```(?P<language>bash|python)[^\n]*\n
    (?P<code>.*?)
    ^(?P=indent)```$
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
# The last `--set` of a key counts, so these come last, before a comment.
TRAIN_LINE = re.compile(r"^railcar train\b(?:[^#\n]*[^#\s])?", re.MULTILINE)
QUICKLY = "--set training.steps=20 --set training.batch_size=32 --set training.optimizer.warmup_steps=5"


class Example(NamedTuple):
    language: str
    code: str


def find_examples(text: str) -> list[Example]:
    """The blocks of a page that are to be run, in order."""
    examples = []
    for match in EXAMPLE.finditer(text):
        code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        if match["is_quick"]:
            code = TRAIN_LINE.sub(rf"\g<0> {QUICKLY}", code)
        if match["language"] == "python" and examples and examples[-1].language == "python":
            # One process for neighbours: each one that imports TensorFlow takes seconds to start.
            examples[-1] = Example("python", f"{examples[-1].code}\n{code}")
        else:
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
    }
    for language, code in find_examples(page.read_text()):
        command = ["bash", "-euo", "pipefail", "-c", code] if language == "bash" else [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )

        assert done.returncode == 0, f"{page.name}: this example failed:\n{code}\n{done.stdout}\n{done.stderr}"


def test_every_comment_that_says_run_belongs_to_an_example() -> None:
    texts = [page.read_text() for page in PAGES]
    n_comments = sum(len(re.findall(r"<!-- run\b(?=.*-->\n)", text)) for text in texts)

    assert n_comments == sum(len(EXAMPLE.findall(text)) for text in texts)
    assert n_comments > 0


def test_a_quick_example_trains_for_a_few_steps_only() -> None:
    page = "<!-- run quickly -->\n```bash\nrailcar train photos/   # mine\nrailcar runs list\n```\n"

    assert find_examples(page) == [Example("bash", f"railcar train photos/ {QUICKLY}   # mine\nrailcar runs list\n")]


def test_no_page_links_to_a_file_that_is_not_there() -> None:
    missing = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not (page.parent / target).exists():
                missing.append(f"{page.name}: {target}")

    assert missing == []

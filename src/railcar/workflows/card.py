"""A run's model card, written from its files at the end of a training and after each evaluation on its own data.

Owns which files the card is made of. It lies in the run's folder and not in the artifact, whose checksums and signature
cover what a model needs to work: the card changes when more is measured, the model does not. Imports no TensorFlow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from railcar.reporting.card import CardFacts, find_notes, render_card
from railcar.reporting.card_facts import clean
from railcar.runs.index import explain_content, read_evaluation, read_recipe
from railcar.runs.run_dir import RunDir, read_json
from railcar.storage.local import write_atomic


def write_card(run: RunDir) -> Path:
    """Write model-card.md anew; what somebody has written below its last line stays. Raises `NotFound` and `RunError`
    where the run has no manifest or a damaged file, `OutputError` where it cannot be written."""
    with explain_content(run):
        card = render_card(read_facts(run))
    write_atomic(run.card_path, card.encode(errors="replace"))
    return run.card_path


def read_facts(run: RunDir) -> CardFacts:
    """What the card is made of."""
    manifest = run.read_manifest()
    folder = run.path.absolute()
    return CardFacts(
        name=clean(run.name),
        reference=clean(str(run.address) if run.address else "/".join((folder.parent.name, folder.name)).strip("/")),
        manifest=clean(manifest),
        recipe=clean(read_recipe(run)),
        decisions=clean(_read_object(run.decisions_path)),
        evaluation=clean(read_evaluation(run)),
        encoding=clean(_read_columns(run)),
        notes=_read_notes(run.card_path),
    )


def _read_object(path: Path) -> dict[str, Any]:
    found = read_json(path)
    return found if isinstance(found, dict) else {}


def _read_columns(run: RunDir) -> dict[str, Any]:
    """Of encoding.json, which may hold a large vocabulary, the names and types of columns."""
    try:
        columns = json.loads(run.encoding_path.read_bytes()).get("columns") or ()
        return {"columns": [{"name": str(one["name"]), "type": str(one["type"])} for one in columns]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _read_notes(path: Path) -> str:
    try:
        return find_notes(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""

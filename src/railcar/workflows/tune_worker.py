"""One of the processes that `tune_workers.py` starts: makes trials, one after the other.

Speaks lines of JSON: a trial comes in; `validated` goes out at each validation, and is answered with whether to end;
`finished` or `failed` goes out at its end. Ends when nobody is there to speak with.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from railcar.errors import Interrupted, RailcarError
from railcar.recipe.load import load_recipe
from railcar.runs.place import find_place
from railcar.workflows.inputs import Start, resolve_input
from railcar.workflows.look import Look
from railcar.workflows.train import train_here


def main() -> int:
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no message
    for line in sys.stdin:
        try:
            _tell(channel, _make(json.loads(line), channel))
        except (Interrupted, KeyboardInterrupt):
            return 130
    return 0


def _make(trial: dict[str, Any], channel: TextIO) -> dict[str, Any]:
    """Train as `trial` says; returns what is told of it."""

    def on_validation(step: int, n_steps: int, values: Mapping[str, float]) -> str | None:
        _tell(channel, {"event": "validated", "share": step / n_steps, "values": dict(values)})
        answer = sys.stdin.readline()
        if not answer:
            os._exit(1)
        return json.loads(answer)["end"]

    try:
        recipe = load_recipe(trial["recipe"], trial["settings"])
        given = resolve_input(recipe)
        place = find_place(Path(trial["runs_dir"]))
        start = Start(given, (), False, None, place, hides_test=True, on_validation=on_validation)
        run = train_here(start, Look(quiet=True, verbose=False, color=False))
    except Interrupted:
        raise
    except RailcarError as error:
        return {"event": "failed", "note": error.what}
    except Exception as error:
        return {"event": "failed", "note": f"{type(error).__name__}: {error}"}
    return {"event": "finished", "run": run.name}


def _tell(channel: TextIO, message: dict[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)

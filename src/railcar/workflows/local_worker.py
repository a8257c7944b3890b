"""One of the processes that `local_workers.py` starts: `python -m railcar.workflows.local_worker FOLDER INDEX`."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import traceback
from pathlib import Path

from railcar.errors import RailcarError
from railcar.runs.run_dir import RunDir
from railcar.workflows.train import train_here


def main(folder: Path, index: int) -> int:
    """The exit status. What went wrong is told in `error-INDEX.json`."""
    start, look = pickle.loads((folder / "arguments.pickle").read_bytes())  # written by our parent

    def note(run: RunDir) -> None:
        (folder / "run").write_text(json.dumps([str(run.path), str(run.address) if run.address else None]))

    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        train_here(start, look, on_run=note)
    except RailcarError as error:
        _tell(folder, index, type(error).__name__, error.what, error.hint, error.exit_status)
        return error.exit_status
    except KeyboardInterrupt:
        _tell(folder, index, "Interrupted", "stopped before the first step", "", 130)
        return 130
    except Exception as error:
        if look.verbose:
            traceback.print_exc()
        what = f"worker {index}: {type(error).__name__}: {error}"
        hint = "this is a fault of railcar: run it again with --verbose and report what it prints"
        _tell(folder, index, "RailcarError", what, hint, 1)
        return 1
    return 0


def _end_with_parent() -> None:
    # At a signal the chief saves what was trained, and ends the others.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _tell(folder: Path, index: int, kind: str, what: str, hint: str, exit_status: int) -> None:
    told = {"kind": kind, "what": what, "hint": hint, "exit_status": exit_status}
    (folder / f"error-{index}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    status = main(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stderr.flush()
    # TensorFlow's servers would wait for one another for seconds.
    os._exit(status)

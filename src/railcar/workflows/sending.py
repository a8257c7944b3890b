"""A run that was trained to its end, and of which its bucket lacks something: it is sent, and not trained again."""

from __future__ import annotations

from contextlib import closing

from railcar.runs.place import Held
from railcar.runs.uploads import Uploads
from railcar.workflows.look import Look


def has_only_to_be_sent(held: Held) -> bool:
    """Whether nothing is left to do for the run but to send it."""
    run = held.run
    return held.lease is not None and run.unsent_path.exists() and run.read_manifest().get("state") == "finished"


def send_finished(held: Held, look: Look) -> None:
    """Send what the bucket lacks. Raises `OutputError`."""
    with closing(look.reporter(held.run.log_path)) as reporter:
        reporter.say(f"{held.run.name} is finished; sending the rest of it to {held.run.address}")
        Uploads(held.run, held.lease, reporter.warn).finish()

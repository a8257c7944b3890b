"""Row 24: model files that somebody has made to read, write, connect, or take more than they hold.

Each is read as with `--trust`: refused by what it would do, before it does it. What is touched outside is seen by the
system's own watch on a folder (inotify) and by a server that counts who connects. Linux only.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
from pathlib import Path

from benchmarks.reliability.run import Outcome
from tests.artifact.hostile_files import ALL, OUTSIDE_NAMES, make
from tests.artifact.workshop import Bench, Outside, seal, write_sound, write_sound_graph

from railcar.artifact import foreign
from railcar.artifact.artifact import read_artifact
from railcar.errors import ForeignArtifact, RailcarError


def refuse(path: Path) -> RailcarError | None:
    """How the artifact is refused though it is trusted; None where it is read."""
    try:
        read_artifact(path, trust=True)
    except RailcarError as error:
        return error
    return None


def measure(folder: Path, trials: int | None, draw: random.Random) -> Outcome:
    """Every hostile file, or some; and the sound ones they are made of, which are read."""
    os.environ["RAILCAR_KEY_FILE"] = str(folder / "key")
    bench = Bench(write_sound(folder / "sound"), write_sound_graph(folder / "graph"), Outside(folder / "outside"))
    failures, outside = [], {"reads": 0, "writes": 0, "connections": 0}
    chosen = ALL if trials is None else draw.sample(ALL, trials)
    for sound in (bench.keras, bench.graph):
        shutil.copytree(sound, copy := folder / f"{sound.name}-of-others")
        seal(copy)
        if error := refuse(copy):
            failures.append(f"a sound one is refused: {error.what}")
    for number, hostile in enumerate(chosen):
        path = make(hostile, bench, folder / str(number))
        bench.outside.touched()
        error = refuse(path)
        touched = bench.outside.touched()
        outside = {key: n + touched[key] for key, n in outside.items()}
        if error is None or hostile.told not in error.what or any(touched.values()):
            failures.append(f"{hostile.name}: {error.what if error else 'read'}; {touched}")
        elif not isinstance(error, ForeignArtifact) and hostile is not OUTSIDE_NAMES:
            failures.append(f"{hostile.name}: refused as damaged only: {error.what}")
    bench.outside.close()
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    told = ", ".join(f"{key} {n}" for key, n in outside.items())
    note = f"{told} outside; peak {peak_mb:,} MB, cap {foreign.MEMORY_MB:,} MB and TensorFlow"
    return Outcome(max(len(chosen) - len(failures), 0), len(chosen), note, failures)

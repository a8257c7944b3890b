"""What a row is handed: where data and peers are, how often to measure, and how to run railcar and a peer."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data import Source, prepare
from harness.environments import find_python
from harness.processes import railcar_command, run_json
from railcar.recipe.load import bundled_recipes

FOLDER = Path(__file__).resolve().parent.parent
PEERS = FOLDER / "peers"


class Skipped(Exception):
    """A row cannot be measured here; the text says why."""


@dataclass
class Bench:
    """`is_quick`: only to see that everything works, in a few steps. `folders`: the data sets by name."""

    scratch: Path
    folders: dict[str, Path]
    env_dir: Path
    n_rounds: int = 3
    n_seeds: int = 5
    n_peer_seeds: int = 3
    is_quick: bool = False
    has_peers: bool = True
    _sources: dict[str, Source] = field(default_factory=dict)

    def source(self, name: str) -> Source:
        """A data set, prepared. Raises `Skipped` when its folder was not given."""
        if name not in self._sources:
            folder = self.folders.get(name)
            if folder is None:
                raise Skipped(f"needs --{name} FOLDER")
            self.say(f"preparing {name} ...")
            self._sources[name] = prepare(folder.resolve(), self.scratch)
        return self._sources[name]

    @property
    def cache(self) -> Path:
        """Where railcar keeps what it prepared while the benchmarks run."""
        return self.scratch / "cache"

    def forget_sources(self) -> None:
        """After the cache was emptied: what is asked for next is prepared again."""
        self._sources.clear()

    def check_recipe(self, name: str) -> None:
        """Raise `Skipped` when railcar has no such recipe yet."""
        if name not in bundled_recipes():
            raise Skipped(f"the recipe {name} is not bundled")

    def train(self, recipe: str, source: str | Path, *sets: str, watch: bool = False) -> dict[str, Any]:
        """`railcar train` in a process of its own; `source` is a set's name or a folder. Its JSON and `process_s`."""
        self.check_recipe(recipe)
        folder = self.source(source).folder if isinstance(source, str) else source
        options = [word for one in (f"data.source={folder}", *sets) for word in ("--set", one)]
        where = ["--runs-dir", str(self.scratch / "runs"), "--json", "--quiet"]
        return run_json(railcar_command("train", recipe, *options, *where), watch=watch)

    def peer(self, program: str, source: str | Path, *options: object, watch: bool = False) -> dict[str, Any]:
        """A program of `peers/`, in the environment that its name begins with; `source` is a set's name or an .npz.
        Raises `Skipped` when peers were not asked for."""
        if not self.has_peers:
            raise Skipped("peers were not asked for")
        python = find_python(program.partition("_")[0], self.env_dir)
        npz = self.source(source).npz if isinstance(source, str) else source
        command = [str(python), str(PEERS / f"{program}.py"), "--data", str(npz), *map(str, options)]
        return run_json(command, watch=watch)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def spread(values: list[float], form: str) -> str:
    """Median, and the lowest and highest when there are several."""
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Round by round, ours over theirs."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]

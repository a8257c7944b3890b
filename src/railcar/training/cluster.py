"""The workers of one training, as `TF_CONFIG` in the environment names them. Needs no TensorFlow."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from railcar.errors import RecipeError, UsageError

VARIABLE = "TF_CONFIG"
_PROBE_TIMEOUT_S = 2.0
_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}, '
    "with its own index on each machine"
)


@dataclass(frozen=True)
class Member:
    """One worker: TensorFlow's job and task, and `host:port`."""

    job: str
    task: int
    address: str

    @property
    def target(self) -> str:
        """As TensorFlow calls it in errors and in questions about its health."""
        return f"/job:{self.job}/replica:0/task:{self.task}"


@dataclass(frozen=True)
class Cluster:
    """`members` in TensorFlow's order; the first is the chief. `index` is this process's place among them."""

    members: tuple[Member, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def name(self, index: int) -> str:
        """As in messages: `worker 1 (10.0.0.2:2222)`."""
        return f"{'the chief, ' if index == 0 else ''}worker {index} ({self.members[index].address})"

    def find_dead(self) -> list[int]:
        """The others at whose address nobody listens."""
        others = [index for index in range(len(self.members)) if index != self.index]
        with ThreadPoolExecutor(len(others) or 1) as pool:
            alive = pool.map(lambda index: _listens(self.members[index].address), others)
            return [index for index, is_alive in zip(others, alive, strict=True) if not is_alive]


def read_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """What `TF_CONFIG` says; None when there is none, or when it names a single worker. Raises `UsageError`."""
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
        jobs: dict[str, Any] = config.get("cluster", {})
        addresses = {job: [str(one) for one in jobs.get(job, [])] for job in ("chief", "worker")}
        job, task = str(config.get("task", {}).get("type", "worker")), int(config.get("task", {}).get("index", 0))
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{VARIABLE} cannot be read: {error}", hint=f"for example {_EXAMPLE}") from error
    members = [Member(name, index, one) for name, some in addresses.items() for index, one in enumerate(some)]
    if len(members) < 2:
        return None
    others = sorted(set(jobs) - set(addresses))
    if others:
        raise UsageError(
            f"{VARIABLE} names tasks of type {', '.join(others)}, which do not exist here",
            hint="name workers only (and a chief, if you like)",
        )
    for index, member in enumerate(members):
        if (member.job, member.task) == (job, task):
            return Cluster(tuple(members), index)
    raise UsageError(f"{VARIABLE}: its task, {job} {task}, is not in its cluster", hint=f"for example {_EXAMPLE}")


def check_split(batch_size: int, n: int, noun: str) -> None:
    """Raise `RecipeError` when a batch does not split evenly over `n` of `noun` (workers, GPUs)."""
    if batch_size % n:
        fit = max(batch_size // n, 1) * n
        raise RecipeError(
            f"training.batch_size: {batch_size} does not split evenly over {n} {noun}",
            hint=f"set training.batch_size to {fit} or {fit + n}",
        )


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True

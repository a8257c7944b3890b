"""GPU names, and what a machine with them is called and costs: the table `gpus.yaml`, with its date."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from railcar.errors import MachineError, UsageError
from railcar.machines.base import MachineSpec


@dataclass(frozen=True)
class Price:
    """A machine type of a provider's, by GPU and how many; dollars an hour on demand, in the table's region."""

    provider: str
    gpu: str | None
    n_gpus: int
    machine_type: str
    usd_per_hour: float


@cache
def _table() -> dict[str, Any]:
    import yaml

    text = (files("railcar.machines") / "gpus.yaml").read_text()
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def table_date() -> str:
    """When the prices were last looked at: YYYY-MM-DD."""
    return str(_table()["date"])


def list_prices(provider: str | None = None) -> list[Price]:
    """All lines of the table, by provider and price."""
    found = [
        Price(name, None if gpu == "none" else gpu, 0 if gpu == "none" else n_gpus, kind, usd)
        for name, machines in _table()["machines"].items()
        if provider in (None, name)
        for gpu, sizes in machines.items()
        for n_gpus, (kind, usd) in sizes.items()
    ]
    return sorted(found, key=lambda one: (one.provider, one.usd_per_hour))


def spot_share(provider: str) -> float:
    """What a spot machine costs, about, of one on demand."""
    return _table()["spot_share"].get(provider, 0.3)


def memory_gb(gpu: str) -> int:
    return _table()["gpus"][gpu]["memory_gb"]


def tflops(gpu: str) -> float:
    """Of one GPU, in 16 bits, at its best."""
    return _table()["gpus"][gpu]["tflops"]


def usual_region(provider: str) -> str:
    return _table()["regions"][provider]


def read_gpu(text: str) -> tuple[str, int]:
    """ "T4:2" as ("T4", 2). Raises `UsageError` with the nearest name."""
    name, _, number = text.partition(":")
    known = list(_table()["gpus"])
    found = next((one for one in known if one.lower() == name.lower()), None)
    if found is None or (number and not number.isdigit()):
        close = get_close_matches(name.upper(), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"GPUs are: {', '.join(known)}"
        raise UsageError(f"machine.gpu: there is no {text!r} in the table of GPUs", hint=hint)
    return found, int(number or 1)


def find_price(provider: str, spec: MachineSpec) -> Price:
    """The machine type for what is asked for. A type that is named counts, with its price where the table has it.
    Raises `MachineError` when the provider has no machine with so many of that GPU."""
    known = list_prices(provider)
    if spec.machine_type:
        listed = next((one for one in known if one.machine_type == spec.machine_type), None)
        return listed or Price(provider, None, 0, spec.machine_type, 0.0)
    if spec.gpu is None:
        return next(one for one in known if one.gpu is None)
    gpu, n_gpus = read_gpu(spec.gpu)
    of_it = [one for one in known if one.gpu == gpu]
    if found := next((one for one in of_it if one.n_gpus == n_gpus), None):
        return found
    counts = ", ".join(f"{gpu}:{one.n_gpus}" for one in sorted(of_it, key=lambda one: one.n_gpus))
    others = sorted({one.gpu for one in known if one.gpu})
    raise MachineError(
        f"{provider} has no machine with {gpu}:{n_gpus}",
        hint=f"it has {counts}" if counts else f"its GPUs are: {', '.join(others)}",
    )

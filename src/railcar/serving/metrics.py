"""Counts and times of a server, and their text for Prometheus (exposition format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping

LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_HELP = {
    "railcar_request_seconds": ("histogram", "Time from the whole request to its answer, by model, version and route."),
    "railcar_requests_total": ("counter", "Requests by model, version, route and HTTP status."),
    "railcar_batch_inputs": ("histogram", "Inputs that were computed together, by model."),
    "railcar_compute_seconds_total": ("counter", "Time spent in networks, by model."),
    "railcar_queue_inputs": ("gauge", "Inputs that wait, by model."),
    "railcar_model_version": ("gauge", "The version that answers, by model; 0 while none does."),
    "railcar_reloads_total": ("counter", "Versions that took over, or were not taken, by model."),
}
Labels = tuple[tuple[str, str], ...]


class _Histogram:
    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """To be used in the event loop's thread; `watch_batches` gives a function for it, too."""

    def __init__(self) -> None:
        self._seconds: dict[Labels, _Histogram] = defaultdict(lambda: _Histogram(LATENCY_S))
        self._requests: dict[Labels, int] = defaultdict(int)
        self._batches: dict[Labels, _Histogram] = defaultdict(lambda: _Histogram(BATCHES))
        self._computed: dict[Labels, float] = defaultdict(float)
        self._reloads: dict[Labels, int] = defaultdict(int)

    def count_request(self, model: str, version: int, route: str, status: int, seconds: float) -> None:
        where = (("model", model), ("version", str(version)), ("route", route))
        self._requests[(*where, ("status", str(status)))] += 1
        self._seconds[where].add(seconds)

    def watch_batches(self, model: str) -> Callable[[int, float], None]:
        where = (("model", model),)

        def watch(n: int, seconds: float) -> None:
            self._batches[where].add(n)
            self._computed[where] += seconds

        return watch

    def count_reload(self, model: str, *, is_good: bool) -> None:
        self._reloads[(("model", model), ("result", "taken" if is_good else "refused"))] += 1

    def write(self, queued: Mapping[str, int], versions: Mapping[str, int]) -> str:
        """The text; `queued` and `versions` by the name of the model."""
        lines: list[str] = []
        _write_histograms(lines, "railcar_request_seconds", self._seconds)
        _write_values(lines, "railcar_requests_total", self._requests)
        _write_histograms(lines, "railcar_batch_inputs", self._batches)
        _write_values(lines, "railcar_compute_seconds_total", self._computed)
        _write_values(lines, "railcar_queue_inputs", {(("model", name),): n for name, n in queued.items()})
        _write_values(lines, "railcar_model_version", {(("model", name),): n for name, n in versions.items()})
        _write_values(lines, "railcar_reloads_total", self._reloads)
        return "\n".join(lines) + "\n"


def _start(lines: list[str], name: str) -> None:
    kind, told = _HELP[name]
    lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]


def _write_values(lines: list[str], name: str, values: Mapping[Labels, float]) -> None:
    _start(lines, name)
    lines += [f"{name}{_spell(labels)} {value:.9g}" for labels, value in values.items()]


def _write_histograms(lines: list[str], name: str, found: Mapping[Labels, _Histogram]) -> None:
    _start(lines, name)
    for labels, one in found.items():
        n = 0
        for bound, count in zip((*one.bounds, None), one.counts, strict=True):
            n += count
            end = "+Inf" if bound is None else f"{bound:g}"
            lines.append(f"{name}_bucket{_spell((*labels, ('le', end)))} {n}")
        lines += [f"{name}_sum{_spell(labels)} {one.total:.9g}", f"{name}_count{_spell(labels)} {n}"]


def _spell(labels: Labels) -> str:
    escaped = ((name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, value in labels)
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"

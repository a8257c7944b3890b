"""Requests a second, latency, time to ready and memory of `railcar serve`, beside four other servers of one model.

    python benchmarks/serving.py RUN [RUN ...] [--clients 1 8 32 128] [--seconds 5] [--rounds 2]
                                 [--peers flask litserve bentoml kserve] [--env-dir DIR] [--json FILE]

RUN is a run of images: of one channel they are sent as pixels in JSON, photos as JPEG files, one image a request. The
figures of docs/concepts/performance.md are of two runs:

    railcar train mnist-tutorial --name digits
    railcar train PHOTOS --name photos --model pretrained --set model.input_size=224 [--set model.weights=FILE]

The peers answer with the same weights in plain Keras (`serving_subject.py`), in the fastest of their settings, which
is found first (`serving_servers.py`). Then in turns, round by round: each server is started anew (railcar once before,
which then has made what it serves), is waited for until it gives the first right answer, and is asked by so many
clients at once; and the model computes in the process, in batches of 32, without any server. Servers and clients share
the cores; "CPU ms" is what a server's processes take of them for an answer. Every answer is checked. The clients are
wrk where it is installed (`apt-get install wrk`), else a loop of Python, which takes more of the cores.

Bars, at 32 clients: four times the best peer; 40% of the rate in the process for images of up to 32 pixels, 70% for
larger ones; the 99th percentile at most three times the median. Status 1 when an answer was wrong or did not come.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.clients import find_generator, measure
from harness.environments import DEFAULT_DIR, find_python
from harness.machine import describe_machine
from harness.processes import run_json
from serving_servers import PEERS, RAILCAR, SETTINGS, Setting, Subject, read_subject, start, try_settings

BATCH = 32
AT = 32
Found = dict[str, Any]


def compute_rate(engine: str, folder: Path, seconds: float) -> float:
    """Images a second in this process in batches of 32: of railcar's export through `engine`."""
    import numpy as np

    from engines import measure_rate, open_litert, open_onnx

    with np.load(folder / "questions.npz") as data:
        batch = np.resize(data["images"], (BATCH, *data["images"].shape[1:]))
    path = folder / engine / "1"
    run = open_litert(path / "model.tflite") if engine == "litert" else open_onnx(path / "model.onnx")
    return measure_rate(run, batch, seconds)


def measure_in_process(subject: Subject, options: argparse.Namespace) -> dict[str, float]:
    """Each in a process of its own: railcar's two runtimes, and Keras."""
    rates = {}
    for engine in ("litert", "onnx"):
        words = [str(subject.folder), "--engine", engine, "--seconds", str(options.seconds)]
        rates[engine] = run_json([sys.executable, __file__, *words])["rate"]
    if options.peers:
        words = [
            str(subject.folder / "plain"),
            str(subject.folder / "questions.npz"),
            "--seconds",
            str(options.seconds),
        ]
        python = find_python("keras", options.env_dir)
        found = run_json([str(python), str(PEERS / "keras_serving.py"), *words])
        rates |= {f"keras {name}": found[name] for name in ("predict", "predict_on_batch", "compiled")}
    return rates


def measure_server(server: str, subject: Subject, setting: Setting, options: argparse.Namespace, turn: int) -> Found:
    """Start it, ask it, end it."""
    running, ready_s = start(server, subject, setting, options.env_dir, options.log)
    with running:
        asked = subject.ask(server)
        fresh = running.memory()
        measure(running.port, asked, AT, min(options.seconds, 2), options.generator)
        found = {}
        for n in options.clients:
            before = running.cpu_s()
            found[n] = asdict(measure(running.port, asked, n, options.seconds, options.generator, turn))
            found[n]["cpu_ms"] = 1e3 * (running.cpu_s() - before) / max(found[n]["n_right"], 1)
        return {"ready_s": ready_s, "fresh": fresh, "memory": running.memory(), "clients": found}


def choose_settings(subject: Subject, options: argparse.Namespace) -> dict[str, Setting]:
    """The fastest of each server's settings; the first ones when nothing shall be tried."""
    settings = {server: SETTINGS[server][0] for server in (RAILCAR, *options.peers)}
    for server in options.peers if options.tries else ():
        settings[server] = next(iter(try_settings(server, subject, options.env_dir, options.log, options.seconds)))
    return settings


def measure_subject(run: Path, folder: Path, options: argparse.Namespace) -> Found:
    command = [sys.executable, str(Path(__file__).with_name("serving_subject.py")), str(run), str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    subject = read_subject(run, folder)
    running, first_s = start(RAILCAR, subject, (), options.env_dir, options.log)
    running.stop()
    settings = choose_settings(subject, options)
    rounds: dict[str, list[Found]] = {server: [] for server in settings}
    in_process: dict[str, list[float]] = {}
    for turn in range(options.rounds):
        servers = list(settings)
        for server in servers if turn % 2 == 0 else reversed(servers):
            print(f"{subject.name}, round {turn + 1}: {server}", file=sys.stderr, flush=True)
            rounds[server].append(measure_server(server, subject, settings[server], options, turn))
        for name, rate in measure_in_process(subject, options).items():
            in_process.setdefault(name, []).append(rate)
    is_small = max(subject.images.shape[1:3]) <= 32
    found = {"name": subject.name, "what": subject.what, "settings": settings, "rounds": rounds}
    found |= {"first_ready_s": first_s}
    return {**found, "in_process": in_process, "bars": judge(rounds, in_process, 0.4 if is_small else 0.7)}


def take(rounds: list[Found], n: int, key: str) -> float:
    """The median over the rounds."""
    return statistics.median(one["clients"][n][key] for one in rounds)


def judge(rounds: dict[str, list[Found]], in_process: dict[str, list[float]], share: float) -> list[Found]:
    """What was asked of railcar, what came, and whether that is enough; at the number of clients nearest to 32."""
    n = min(rounds[RAILCAR][0]["clients"], key=lambda one: abs(one - AT))
    ours = take(rounds[RAILCAR], n, "rate")
    runtimes = {name: statistics.median(rates) for name, rates in in_process.items()}
    own = max(runtimes[name] for name in ("litert", "onnx"))
    p99 = take(rounds[RAILCAR], n, "p99_ms") / take(rounds[RAILCAR], n, "p50_ms")
    ready = statistics.median(one["ready_s"] for one in rounds[RAILCAR])
    bars = [
        {"what": f"share of the rate in the process, {n} clients", "found": ours / own, "bar": share},
        {"what": f"99th percentile over median, {n} clients", "found": p99, "bar": 3.0, "at_most": True},
        {"what": "seconds to the first right answer", "found": ready, "bar": 2.0, "at_most": True},
    ]
    if keras := [rate for name, rate in runtimes.items() if name.startswith("keras")]:
        bars.append({"what": "share of Keras' best rate in the process", "found": ours / max(keras), "bar": share})
    if peers := {server: take(found, n, "rate") for server, found in rounds.items() if server != RAILCAR}:
        best = max(peers, key=peers.__getitem__)
        ratio = statistics.median(
            mine["clients"][n]["rate"] / other["clients"][n]["rate"]
            for mine, other in zip(rounds[RAILCAR], rounds[best], strict=True)
        )
        bars.insert(0, {"what": f"times the best peer ({best}), {n} clients", "found": ratio, "bar": 4.0})
    for bar in bars:
        bar["is_met"] = bar["found"] <= bar["bar"] if bar.get("at_most") else bar["found"] >= bar["bar"]
    return bars


def print_found(found: Found, options: argparse.Namespace) -> None:
    print(f"\n{found['name']}: {found['what']}, {options.rounds} rounds of {options.seconds:g} s, {options.generator}")
    widths = {
        "clients": 8,
        "requests/s": 12,
        "lowest": 9,
        "highest": 9,
        "p50 ms": 8,
        "p99 ms": 8,
        "CPU ms": 8,
        "bad": 5,
    }
    print(f"{'server':10}" + "".join(f"{head:>{width}}" for head, width in widths.items()))
    for server, rounds in found["rounds"].items():
        for n in options.clients:
            rates = [one["clients"][n]["rate"] for one in rounds]
            bad = sum(one["clients"][n]["n_wrong"] + one["clients"][n]["n_failed"] for one in rounds)
            p50, p99, cpu = (take(rounds, n, key) for key in ("p50_ms", "p99_ms", "cpu_ms"))
            rate = f"{statistics.median(rates):12,.0f}{min(rates):9,.0f}{max(rates):9,.0f}"
            print(f"{server:10}{n:8}{rate}{p50:8.1f}{p99:8.1f}{cpu:8.2f}{bad:5}")
    print(f"\n{'server':10}{'ready s':>8}{'RSS MB':>8}{'PSS MB':>8}{'processes':>10}")
    for server, rounds in found["rounds"].items():
        ready = statistics.median(one["ready_s"] for one in rounds)
        rss, pss = (max(one["memory"][key] for one in rounds) for key in ("rss_mb", "pss_mb"))
        print(f"{server:10}{ready:8.2f}{rss:8.0f}{pss:8.0f}{rounds[0]['memory']['n_processes']:10}")
    for server, setting in found["settings"].items():
        print(f"{server:10}{' '.join(setting) or 'as it comes'}")
    print(f"railcar's very first start with this run, which makes what it serves: {found['first_ready_s']:.2f} s")
    print(f"\nin the process, batches of {BATCH}: images a second")
    for name, rates in found["in_process"].items():
        print(f"{name:24}{statistics.median(rates):10,.0f}")
    print()
    for bar in found["bars"]:
        wanted = f"{'at most' if bar.get('at_most') else 'at least'} {bar['bar']:g}"
        print(f"{bar['what']:50}{bar['found']:8.2f}  {wanted:13} {'met' if bar['is_met'] else 'MISSED'}")


def count_bad(found: Found) -> int:
    """Answers of railcar that were wrong or did not come."""
    measured = [one for turn in found["rounds"][RAILCAR] for one in turn["clients"].values()]
    return sum(one["n_wrong"] + one["n_failed"] for one in measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peers", nargs="*", choices=[one for one in SETTINGS if one != RAILCAR])
    parser.add_argument("--no-tries", dest="tries", action="store_false", help="the first setting of each peer")
    parser.add_argument("--generator", choices=("wrk", "python"), help="the clients; wrk where it is installed")
    parser.add_argument("--env-dir", type=Path, default=DEFAULT_DIR)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures into FILE")
    parser.add_argument("--engine", choices=("litert", "onnx"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        print(json.dumps({"rate": compute_rate(options.engine, options.runs[0], options.seconds)}))
        return
    options.peers = [one for one in SETTINGS if one != RAILCAR] if options.peers is None else options.peers
    options.generator = find_generator(options.generator)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server is left behind
    found = []
    with tempfile.TemporaryDirectory(prefix="railcar-serving-") as scratch:
        options.log = Path(scratch) / "server.log"
        for number, run in enumerate(options.runs):
            found.append(measure_subject(run.resolve(), Path(scratch) / str(number), options))
            print_found(found[-1], options)
    if options.json:
        document = {"machine": describe_machine(), "generator": options.generator, "subjects": found}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(1 if any(map(count_bad, found)) else 0)


if __name__ == "__main__":
    main()

"""Rows 17 to 20: `railcar serve` with too much to do, told to end, given new models, and held by slow clients."""

from __future__ import annotations

import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.harness.load import Answer, BackgroundLoad, LoadGenerator, Question
from benchmarks.harness.servers import Server, ask, list_tree
from benchmarks.reliability import served
from benchmarks.reliability.run import Outcome

_TIMES_TOO_MUCH = 4
_REJECTION_S, _RECOVERY_S, _GROWTH_MB = 0.1, 5.0, 256
_END_S = 45.0
_SLOW_S = 30.0
_RELOAD_S = 20.0
_VERSION = re.compile(rb'"version"\s*:\s*(\d+)')


class MemoryWatch:
    """The highest resident memory of a server and its children, in MB, looked at fifty times a second."""

    def __init__(self, server: Server) -> None:
        self.peak_mb = self.first_mb = read_resident_mb(server)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(server,), daemon=True)
        self._thread.start()

    def _watch(self, server: Server) -> None:
        while not self._is_over.wait(0.02):
            self.peak_mb = max(self.peak_mb, read_resident_mb(server))

    def end(self) -> float:
        self._is_over.set()
        self._thread.join()
        return self.peak_mb


def read_resident_mb(server: Server) -> float:
    total = 0
    for pid in list_tree(server.pid):
        with suppress(OSError, IndexError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    return total / 2**20


def measure_overload(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 17: four times as many questions as it can answer, whatever comes back. Those that it has no room for are
    refused soon, with Retry-After; the others are answered rightly; memory stays; and 5 s after the end a single client
    is answered as before."""
    trials, failures, notes = trials or 3, [], []
    with served.serve([served.find_run("heavy")], folder / "log") as server:
        questions = served.build_questions(server.port, "heavy")
        seconds = 3.0 if trials == 1 else 10.0
        usual = LoadGenerator(server.port, questions).run(seconds / 3, clients=32)
        rate = len(usual.right()) / usual.seconds
        alone_s = LoadGenerator(server.port, questions).run(1.0, clients=1).percentile(0.9)
        for trial in range(trials):
            memory = MemoryWatch(server)
            load = BackgroundLoad(LoadGenerator(server.port, questions), seconds=seconds, rate=_TIMES_TOO_MUCH * rate)
            time.sleep(seconds)
            recovery_s = _await_calm(server, questions[0], max(3 * alone_s, 0.1))
            found, peak = load.end(), memory.end()
            rejected = [one for one in found.answers if one.status in (429, 503)]
            p99 = found.percentile(0.99, rejected)
            other = {name: n for name, n in found.problems().items() if name not in ("status 429", "status 503")}
            faults = [f"{other}"] if other or found.n_unsent else []
            faults += ["nothing was refused"] if not rejected else []
            faults += [f"rejections take {p99:.3f} s"] if p99 >= _REJECTION_S else []
            faults += ["no Retry-After"] if not all(one.retry_after for one in rejected) else []
            faults += [f"{peak - memory.first_mb:.0f} MB more"] if peak - memory.first_mb > _GROWTH_MB else []
            faults += [f"recovered after {recovery_s:.1f} s"] if recovery_s > _RECOVERY_S else []
            failures += [f"trial {trial}: {'; '.join(faults)}"] if faults else []
            notes.append(
                f"asked {_TIMES_TOO_MUCH} x {rate:.0f} a second, {len(found.right()) / seconds:.0f} answered; "
                f"rejections p99 {1e3 * p99:.0f} ms; +{peak - memory.first_mb:.0f} MB; calm after {recovery_s:.1f} s"
            )
    return Outcome(trials - len(failures), trials, notes[-1], failures)


def _await_calm(server: Server, question: Question, limit_s: float) -> float:
    """Seconds until a single question is answered within `limit_s` again; 60 when it never is."""
    began = time.monotonic()
    while time.monotonic() - began < 60:
        one = LoadGenerator(server.port, iter([question]), timeout_s=60).run(60, clients=1)
        if one.right() and one.right()[0].seconds <= limit_s:
            return time.monotonic() - began
        time.sleep(0.05)
    return 60.0


def measure_sigterm(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 18: SIGTERM at a random moment while 16 clients ask, half of them on a new connection each time. What was
    asked on a connection that it had taken is answered, rightly; it ends by itself."""
    trials, failures, times, n_asked, n_after = trials or 50, [], [], 0, 0
    run = served.find_run("image")
    for trial in range(trials):
        with served.serve([run], folder / "log") as server:
            kept = served.build_questions(server.port, "image")
            short = [_close_after(one) for one in kept]
            loads = [BackgroundLoad(LoadGenerator(server.port, one), clients=8) for one in (kept, short)]
            time.sleep(chance.uniform(0.2, 1.0))
            sent, sent_counter = time.monotonic(), time.perf_counter()
            server.process.send_signal(signal.SIGTERM)
            problem = ""
            try:
                status = server.process.wait(_END_S)
                problem = f"it ended with status {status}" if status not in (0, 143) else ""
            except subprocess.TimeoutExpired:
                problem = f"it was still there after {_END_S:.0f} s"
            times.append(time.monotonic() - sent)
            found = [load.end() for load in loads]
        lost = [one for load in found for one in load.answers if _is_lost(one, sent_counter)]
        n_asked += sum(len(load.right()) for load in found)
        n_after += sum(one.began > sent_counter for load in found for one in load.right())
        if lost or problem:
            kinds = Counter(f"{one.problem or one.status}" for one in lost)
            failures.append(f"trial {trial}: lost {dict(kinds)} {problem}; {server.said()[-300:]}")
    note = f"{n_asked:,} answered, {n_after:,} of them asked after the signal; gone after {max(times):.1f} s at most"
    return Outcome(trials - len(failures), trials, note, failures)


def _close_after(question: Question) -> Question:
    """On a connection of its own."""
    return Question(question.request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), question.expected)


def _is_lost(answer: Answer, told_at: float) -> bool:
    """A question without its right answer; but for those refused in words (503), and those on a connection that was
    begun after the signal and that nobody took."""
    if answer.is_right or (answer.status == 503 and answer.began >= told_at):
        return False
    is_untaken = answer.status == 0 and answer.began >= told_at and not answer.n_before
    return not (is_untaken and "in its answer" not in answer.problem)


def measure_reloads(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 19: new versions while 8 clients ask: renamed into place, copied file by file, cut short and left so. Every
    question is answered rightly, each good version takes over, and no bad one does."""
    trials, failures, kinds = trials or 100, [], Counter()
    versions = folder / "versions"
    whole = shutil.copytree(served.find_export("image") / "1", folder / "whole")
    shutil.copytree(whole, versions / "1")
    with served.serve([versions], folder / "log") as server:
        questions = served.build_questions(server.port, "image")
        load = BackgroundLoad(LoadGenerator(server.port, questions), clients=8)
        number, n_good = 1, 1
        while n_good <= trials and len(failures) < 10:
            number += 1
            how = chance.choices(("renamed", "copied slowly", "cut short"), (5, 3, 2))[0]
            kinds[how] += 1
            if how == "cut short":
                _cut_short(whole, versions / str(number), chance)
                time.sleep(chance.uniform(0.5, 2.5))
                if (now := _read_version(server, questions[0])) == number:
                    failures.append(f"version {now} was cut short and answers")
                shutil.rmtree(versions / str(number))
                continue
            _publish(whole, versions, number, how, chance)
            n_good += 1
            if not _await_version(server, questions[0], number):
                failures.append(f"version {number}, {how}, never took over: {server.said()[-300:]}")
            for old in sorted(map(int, (one.name for one in versions.iterdir() if one.name.isdecimal())))[:-2]:
                shutil.rmtree(versions / str(old))
        found = load.end()
        is_alive = server.process.poll() is None
    failures += [f"failed requests: {found.problems()}"] if found.wrong() else []
    failures += [] if is_alive else ["the server ended"]
    what = ", ".join(f"{n} {how}" for how, n in kinds.items())
    p99 = 1e3 * found.percentile(0.99)
    note = f"{what}; {len(found.answers):,} requests, {len(found.wrong())} failed, p99 {p99:.0f} ms"
    return Outcome(max(trials - len(failures), 0), trials, note, failures)


def _publish(whole: Path, versions: Path, number: int, how: str, chance: random.Random) -> None:
    """A good version, as a whole or bit by bit."""
    target = versions / str(number)
    if how == "renamed":
        shutil.copytree(whole, versions / f".partial-{number}")
        (versions / f".partial-{number}").rename(target)
        return
    files = [path for path in whole.rglob("*") if path.is_file()]
    chance.shuffle(files)
    for path in files:
        place = target / path.relative_to(whole)
        place.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        with place.open("wb") as file:
            for start in range(0, max(len(content), 1), max(len(content) // 3, 1)):
                file.write(content[start : start + max(len(content) // 3, 1)])
                file.flush()
                time.sleep(chance.uniform(0, 0.15))


def _cut_short(whole: Path, target: Path, chance: random.Random) -> None:
    """A version that is not whole: its network ends too soon, or is not there, or its samples are other numbers."""
    shutil.copytree(whole, target)
    network = next(target.glob("model.tflite"))
    how = chance.choice(("cut", "gone", "empty", "changed"))
    if how == "gone":
        network.unlink()
        return
    content = bytearray(network.read_bytes())
    if how == "changed":
        middle = len(content) // 2
        content[middle : middle + 64] = chance.randbytes(64)
        content = content[: len(content) - 8]
    network.write_bytes(b"" if how == "empty" else content[: int(len(content) * chance.uniform(0.1, 0.99))])


def _read_version(server: Server, question: Question) -> int:
    head, _, body = question.request.partition(b"\r\n\r\n")
    _, _, found = ask(server.port, "POST", head.split()[1].decode(), body, served.JSON)
    version = _VERSION.search(found)
    return int(version[1]) if version else 0


def _await_version(server: Server, question: Question, number: int) -> bool:
    deadline = time.monotonic() + _RELOAD_S
    while time.monotonic() < deadline:
        if _read_version(server, question) == number:
            return True
        time.sleep(0.05)
    return False


def measure_slow_sockets(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 20: sockets that send their headers a byte at a time, or their body, or nothing, or nothing more after an
    answer. Each is closed within 30 s, and others are answered meanwhile. Fewer than 300: those with slow headers."""
    n, failures = trials or 300, []
    kinds: list[Callable[[int], bytes]] = [_slow_headers, _slow_body, _nothing, _one_question]
    with served.serve([served.find_run("image")], folder / "log") as server, ExitStack() as stack:
        questions = served.build_questions(server.port, "image")
        load = BackgroundLoad(LoadGenerator(server.port, questions), clients=2)
        sockets = []
        for index in range(n):
            kind = kinds[index % 4] if n >= 300 else _slow_headers
            one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            one.sendall(kind(server.port))
            one.setblocking(False)
            sockets.append((one, kind.__name__.strip("_").replace("_", " "), time.monotonic()))
        closed = _await_closed(sockets)
        found = load.end()
    failures = [f"{kind}: open after {_SLOW_S:.0f} s" for _, kind, _ in sockets[len(closed) :]][:3]
    failures += [f"other requests: {found.problems()}"] if found.wrong() else []
    longest = {kind: max(seconds for name, seconds in closed if name == kind) for kind in {name for name, _ in closed}}
    note = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in sorted(longest.items()))
    note = f"longest: {note}; others meanwhile: {len(found.right()):,} right, p99 {1e3 * found.percentile(0.99):.0f} ms"
    n_late = n - sum(seconds <= _SLOW_S for _, seconds in closed)
    return Outcome(n - n_late - bool(found.wrong()), n, note, failures)


def _slow_headers(port: int) -> bytes:
    return b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def _slow_body(port: int) -> bytes:
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return head + b'Content-Length: 100000\r\n\r\n{"input": ['


def _nothing(port: int) -> bytes:
    return b""


def _one_question(port: int) -> bytes:
    return b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def _await_closed(sockets: list[tuple[socket.socket, str, float]]) -> list[tuple[str, float]]:
    """Send each a byte a second where it is of a slow kind, until the server has closed it: kind and seconds."""
    waiting, closed = list(sockets), []
    end = time.monotonic() + _SLOW_S + 3
    while waiting and time.monotonic() < end:
        time.sleep(0.5)
        still = []
        for one, kind, began in waiting:
            is_open = True
            try:
                if kind.startswith("slow"):
                    one.send(b"X" if kind == "slow headers" else b"1")
                while data := one.recv(65536):
                    del data
                is_open = False
            except BlockingIOError:
                pass
            except OSError:
                is_open = False
            if is_open:
                still.append((one, kind, began))
            else:
                closed.append((kind, time.monotonic() - began))
        waiting = still
    return closed

"""Requests to a server on this machine from one process: so many clients, each waiting for its answer, or at a rate.

Every answer is checked against what its own question must bring, so answers that were swapped between clients show. One
epoll loop over plain sockets, HTTP/1.1 with connections kept: about 25 µs of one core a request.
"""

from __future__ import annotations

import errno
import itertools
import re
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT
_BROKEN = select.EPOLLHUP | select.EPOLLERR
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CLOSING = re.compile(rb"\nconnection:[ \t]*close", re.IGNORECASE)
_SWEEP_S = 0.25


@dataclass(frozen=True)
class Question:
    """A whole request, and what the body of its answer must match (None: any answer of status 200)."""

    request: bytes
    expected: re.Pattern[bytes] | None = None


def build_question(
    path: str, body: bytes, content_type: str, label: str | None = None, *, headers: dict[str, str] | None = None
) -> Question:
    """A POST whose answer must hold `"label": "LABEL"`."""
    more = {"Host": "127.0.0.1", "Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in more.items()) + "\r\n"
    return Question(head.encode() + body, None if label is None else expect_label(label))


def expect_label(label: str) -> re.Pattern[bytes]:
    return re.compile(rb'"label"\s*:\s*"' + re.escape(label.encode()) + rb'"')


@dataclass(frozen=True, slots=True)
class Answer:
    """`began` and `seconds` by `time.perf_counter`. `status` 0: none came, `problem` says how. `is_right`: status 200,
    and what was expected is in it. `retry_after`: the header is there. `n_before`: answers on its connection before."""

    began: float
    seconds: float
    status: int
    is_right: bool
    problem: str = ""
    retry_after: bool = False
    n_before: int = 0


@dataclass
class Load:
    """What came back, in the order in which it came; `seconds` from the first question to the last answer."""

    answers: list[Answer] = field(default_factory=list)
    seconds: float = 0.0
    cpu_s: float = 0.0
    n_unsent: int = 0

    def right(self) -> list[Answer]:
        return [one for one in self.answers if one.is_right]

    def wrong(self) -> list[Answer]:
        return [one for one in self.answers if not one.is_right]

    def problems(self) -> dict[str, int]:
        """How often what went wrong: by its status, or by what befell the connection."""
        return dict(Counter(name_problem(one) for one in self.wrong()))

    def percentile(self, share: float, answers: Sequence[Answer] | None = None) -> float:
        """Seconds; of the right answers when nothing else is given. NaN without any."""
        found = sorted(one.seconds for one in (self.right() if answers is None else answers))
        return found[min(int(share * len(found)), len(found) - 1)] if found else float("nan")


def name_problem(answer: Answer) -> str:
    if answer.problem:
        return answer.problem
    return f"status {answer.status}" if answer.status != 200 else "wrong answer"


class _Connection:
    """One socket and the question under way on it."""

    __slots__ = ("began", "got", "is_busy", "is_fresh", "left", "n_done", "need", "question", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self.socket.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self.socket.close()
            raise ConnectionRefusedError(code, "refused")
        self.is_busy, self.is_fresh, self.n_done = False, True, 0
        self.got, self.left, self.need = b"", memoryview(b""), -1
        self.began, self.question = 0.0, Question(b"")


class LoadGenerator:
    """Sends `questions` to 127.0.0.1:`port`: a sequence again and again, an iterator to its end. `stop` ends a run
    early; `watch` is told of each answer."""

    def __init__(
        self, port: int, questions: Sequence[Question] | Iterator[Question], *, timeout_s: float = 30.0
    ) -> None:
        self.address = ("127.0.0.1", port)
        self._questions = questions if isinstance(questions, Iterator) else itertools.cycle(questions)
        self.timeout_s = timeout_s
        self.stop = threading.Event()
        self.watch: Callable[[Answer, Question], None] | None = None

    def run(self, seconds: float, *, clients: int = 0, rate: float = 0.0, max_open: int = 4000) -> Load:
        """`clients` that each wait for their answer, or `rate` questions a second whatever comes back, on at most
        `max_open` connections. What is under way at the end is waited for."""
        self._poll, self._open, self._idle = select.epoll(), {}, []
        self._load, self._is_over, self._refused_until = Load(), False, 0.0
        self._clients, self._due = clients, 0.0
        began, cpu = time.perf_counter(), time.thread_time()
        end, sweep = began + seconds, began + _SWEEP_S
        try:
            while True:
                now = time.perf_counter()
                self._is_over = self._is_over or now >= end or self.stop.is_set()
                if not self._is_over:
                    self._send_due(now, began, rate, max_open)
                elif not any(one.is_busy for one in self._open.values()):
                    break
                for number, events in self._poll.poll(0.002 if rate else 0.02):
                    if number in self._open:
                        self._serve(self._open[number], events)
                if now > sweep:
                    self._drop_late(now)
                    sweep = now + _SWEEP_S
        finally:
            for connection in self._open.values():
                connection.socket.close()
            self._poll.close()
        self._load.seconds = time.perf_counter() - began
        self._load.cpu_s = time.thread_time() - cpu
        return self._load

    def _send_due(self, now: float, began: float, rate: float, max_open: int) -> None:
        if rate:
            n_due = int((now - began) * rate) - int(self._due)
            self._due += n_due
            for _ in range(n_due):
                if self._idle or len(self._open) < max_open:
                    self._ask(now)
                else:
                    self._load.n_unsent += 1
            return
        if now >= self._refused_until:  # a server that is not there is not asked a thousand times a second
            for _ in range(self._clients - len(self._open)):
                if not self._is_over:
                    self._ask(now)
        while self._idle and not self._is_over:
            self._ask(now)

    def _ask(self, now: float) -> None:
        question = next(self._questions, None)
        if question is None:
            self._is_over = True
            return
        if self._idle:
            connection = self._idle.pop()
        else:
            try:
                connection = _Connection(self.address)
            except OSError:
                self._refused_until = now + 0.02
                self._note(Answer(now, 0.0, 0, False, "refused"), question)
                return
            self._open[connection.socket.fileno()] = connection
            self._poll.register(connection.socket, _READ | _WRITE)
        connection.question, connection.began, connection.is_busy = question, now, True
        connection.got, connection.need, connection.left = b"", -1, memoryview(question.request)
        if not connection.is_fresh:
            self._send(connection)

    def _send(self, connection: _Connection) -> None:
        try:
            while connection.left:
                connection.left = connection.left[connection.socket.send(connection.left) :]
        except BlockingIOError:
            self._poll.modify(connection.socket, _READ | _WRITE)
            return
        except OSError:
            return  # what was answered before it closed may still be read; else the close itself is seen
        if connection.is_fresh:
            connection.is_fresh = False
            self._poll.modify(connection.socket, _READ)

    def _serve(self, connection: _Connection, events: int) -> None:
        if events & _WRITE and not events & _BROKEN:
            connection.is_fresh = True  # to be told of no more room
            self._send(connection)
        if not events & (_READ | _BROKEN):
            return
        try:
            data = connection.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError as error:
            data, problem = b"", "refused" if error.errno == errno.ECONNREFUSED else "reset"
        else:
            problem = "closed"
        if not data:
            self._lose(connection, problem)
            return
        if not connection.is_busy:
            return  # an answer nobody asked for, such as 408 to an idle one
        connection.got += data
        if connection.need < 0:
            connection.need = _measure(connection.got)
        if connection.need >= 0 and len(connection.got) >= connection.need:
            self._finish(connection)

    def _finish(self, connection: _Connection) -> None:
        head, _, body = connection.got.partition(b"\r\n\r\n")
        status, expected = int(head[9:12]), connection.question.expected
        is_right = status == 200 and (expected is None or expected.search(body) is not None)
        seconds = time.perf_counter() - connection.began
        has_retry = b"\nretry-after:" in head.lower()
        answer = Answer(connection.began, seconds, status, is_right, "", has_retry, connection.n_done)
        connection.is_busy, connection.n_done = False, connection.n_done + 1
        self._note(answer, connection.question)
        if _CLOSING.search(head) or connection.left:
            self._close(connection)
        else:
            self._idle.append(connection)
            if self._clients and not self._is_over:
                self._ask(time.perf_counter())

    def _lose(self, connection: _Connection, problem: str) -> None:
        if connection.is_busy:
            part = " in its answer" if connection.got else " before all was sent" if connection.left else ""
            part = "" if problem == "refused" else part
            seconds = time.perf_counter() - connection.began
            answer = Answer(connection.began, seconds, 0, False, problem + part, n_before=connection.n_done)
            self._note(answer, connection.question)
        if connection.is_busy and not connection.got:
            self._refused_until = time.perf_counter() + 0.02
        self._close(connection)

    def _drop_late(self, now: float) -> None:
        for connection in list(self._open.values()):
            if connection.is_busy and now - connection.began > self.timeout_s:
                seconds = now - connection.began
                answer = Answer(connection.began, seconds, 0, False, "no answer in time", n_before=connection.n_done)
                self._note(answer, connection.question)
                self._close(connection)

    def _close(self, connection: _Connection) -> None:
        connection.is_busy = False
        self._open.pop(connection.socket.fileno(), None)
        if connection in self._idle:
            self._idle.remove(connection)
        connection.socket.close()

    def _note(self, answer: Answer, question: Question) -> None:
        self._load.answers.append(answer)
        if self.watch:
            self.watch(answer, question)


def _measure(got: bytes) -> int:
    """How many bytes the whole answer has; -1 while that cannot be told."""
    end = got.find(b"\r\n\r\n")
    if end < 0:
        return -1
    head = got[:end]
    if found := _LENGTH.search(head):
        return end + 4 + int(found[1])
    if _CHUNKED.search(head):
        return len(got) if got.endswith(b"0\r\n\r\n") else -1
    return end + 4


class BackgroundLoad:
    """A run of a `LoadGenerator` in a thread, until `end` is called."""

    def __init__(self, generator: LoadGenerator, **options: Any) -> None:
        self.generator = generator
        self._found: list[Load | BaseException] = []
        self._thread = threading.Thread(target=self._run, kwargs=options, daemon=True)
        self._thread.start()

    def _run(self, **options: Any) -> None:
        try:
            self._found.append(self.generator.run(options.pop("seconds", 3600.0), **options))
        except BaseException as error:
            self._found.append(error)

    def end(self) -> Load:
        self.generator.stop.set()
        self._thread.join()
        if isinstance(found := self._found[0], BaseException):
            raise found
        return found

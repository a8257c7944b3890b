"""Trying again: exponential backoff with jitter, for a limited time.

Owns how long and how often. What is worth a second try is said by whoever makes the call, by raising `Transient`.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from railcar.errors import UsageError

T = TypeVar("T")

PATIENCE_S = 120.0
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 15.0


class Transient(Exception):
    """One attempt failed in a way that may pass: a lost connection, a server that is busy. `reason` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OutOfPatience(Exception):
    """Every attempt of the allowed time failed; `reason` is the last one's."""

    def __init__(self, reason: str, n_attempts: int, waited_s: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.n_attempts = n_attempts
        self.waited_s = waited_s


def patience_s() -> float:
    """For how many seconds a call that fails is tried again: `$RAILCAR_RETRY_S`, else two minutes."""
    text = os.environ.get("RAILCAR_RETRY_S", "")
    if not text:
        return PATIENCE_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"RAILCAR_RETRY_S: {text!r} is no number of seconds", hint="for example RAILCAR_RETRY_S=300")
    return seconds


def retry(call: Callable[[], T], *, within_s: float | None = None, stop: threading.Event | None = None) -> T:
    """What `call` returns, tried again while it raises `Transient`, for `within_s` seconds (by default `patience_s()`),
    or until `stop` is set.

    Waits are drawn between nothing and a bound that doubles ("full jitter"): clients that failed together do not come
    back together. Raises `OutOfPatience`.
    """
    limit = patience_s() if within_s is None else within_s
    stop = stop or threading.Event()
    began = time.monotonic()
    n_attempts = 0
    while True:
        try:
            return call()
        except Transient as error:
            n_attempts += 1
            bound = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(n_attempts - 1, 16))
            wait = random.uniform(0, bound)
            elapsed = time.monotonic() - began
            if elapsed + wait > limit or stop.wait(wait):
                raise OutOfPatience(error.reason, n_attempts, elapsed) from error

from __future__ import annotations

import threading
import time

import pytest

from railcar.errors import UsageError
from railcar.storage.retry import OutOfPatience, Transient, patience_s, retry


def failing(n_times: int, calls: list[float]):
    def call() -> str:
        calls.append(time.monotonic())
        if len(calls) <= n_times:
            raise Transient("busy")
        return "done"

    return call


def test_what_fails_for_a_while_is_tried_again() -> None:
    calls: list[float] = []
    assert retry(failing(4, calls), within_s=60) == "done"
    assert len(calls) == 5


def test_patience_ends_and_says_how_often_it_was_tried() -> None:
    calls: list[float] = []
    with pytest.raises(OutOfPatience, match="busy") as caught:
        retry(failing(10**6, calls), within_s=1)
    assert caught.value.n_attempts == len(calls) >= 4
    assert caught.value.waited_s <= 1
    with pytest.raises(OutOfPatience):
        retry(failing(1, []), within_s=0)


def test_other_errors_are_not_tried_again() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise KeyError("no")

    with pytest.raises(KeyError):
        retry(call)
    assert calls == [1]


def test_who_is_told_to_stop_does_not_wait() -> None:
    stop = threading.Event()
    stop.set()
    began = time.monotonic()
    with pytest.raises(OutOfPatience):
        retry(failing(10**6, []), within_s=600, stop=stop)
    assert time.monotonic() - began < 5


def test_the_environment_sets_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAILCAR_RETRY_S", "7.5")
    assert patience_s() == 7.5
    for text in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv("RAILCAR_RETRY_S", text)
        with pytest.raises(UsageError, match="RAILCAR_RETRY_S"):
            patience_s()

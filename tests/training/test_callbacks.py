from __future__ import annotations

import math
import os
import signal

import pytest

from railcar.errors import Interrupted, OutputError
from railcar.recipe.schema import EarlyStop, StopAt
from railcar.training.callbacks import BestScore, Ending, StopSignals


def test_a_deferred_signal_is_noted_and_a_second_one_ends_at_once():
    with StopSignals("go on") as signals, signals.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        with pytest.raises(Interrupted) as caught:
            os.kill(os.getpid(), signal.SIGINT)
    assert (caught.value.exit_status, caught.value.hint) == (130, "go on")


def test_elsewhere_a_signal_ends_the_run_with_its_own_status():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals("go on"), pytest.raises(Interrupted, match="SIGTERM") as caught:
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_status == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_best_score_follows_its_metric():
    loss, accuracy, last = BestScore("val_loss"), BestScore("val_accuracy"), BestScore("last")
    first, second = {"val_loss": 0.5, "val_accuracy": 0.9}, {"val_loss": 0.6, "val_accuracy": 0.95}
    assert [loss.improves(1, first), loss.improves(2, second), loss.step] == [True, False, 1]
    assert [accuracy.improves(1, first), accuracy.improves(2, second), accuracy.step] == [True, True, 2]
    assert [last.improves(1, first), last.step] == [False, None]


def test_a_score_that_is_no_number_is_never_the_best():
    score = BestScore("val_loss")
    assert [score.improves(step, {"val_loss": value}) for step, value in ((1, math.nan), (2, 0.5), (3, 0.2))] == [
        False,
        True,
        True,
    ]


def note_all(ending: Ending, losses: list[float], **rules: object) -> list[bool]:
    options = {"early_stop": None, "stop_at": None, **rules}
    ended = []
    for loss in losses:
        ending.note({"val_loss": loss, "val_accuracy": 1.0 - loss}, **options)  # pyright: ignore[reportArgumentType]
        ended.append(ending.reason is not None)
    return ended


def test_early_stop_counts_validations_without_a_better_value():
    rule = EarlyStop(metric="val_loss", patience=2)
    assert note_all(Ending(), [0.9, 0.8, 0.8, 0.7, 0.75, 0.7], early_stop=rule) == [False] * 5 + [True]
    assert note_all(Ending(), [math.nan, math.nan], early_stop=rule) == [False, True]


def test_stop_at_ends_at_the_first_validation_that_reaches_the_value():
    assert note_all(Ending(), [0.5, 0.25], stop_at=StopAt(metric="val_accuracy", value=0.75)) == [False, True]
    assert note_all(Ending(), [0.5, 0.2], stop_at=StopAt(metric="val_loss", value=0.3)) == [False, True]
    assert note_all(Ending(), [0.5, math.nan], stop_at=StopAt(metric="val_loss", value=0.3)) == [False, False]


def test_what_tensorflow_makes_of_a_signal_is_the_signal_again():
    with StopSignals("go on") as signals:
        fault = RuntimeError("Interrupted: SIGTERM ended the run\n\nAt:\n  file.py(3): _receive")
        assert signals.explain(fault) is fault, "no signal came"
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        told = signals.explain(fault)
        assert isinstance(told, Interrupted) and told.exit_status == 143 and told.hint == "go on"
        full = OutputError("the disk is full")
        assert signals.explain(full) is full

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from railcar.errors import TrainingError
from railcar.training.callbacks import BestScore, StopSignals, check_losses


def test_the_first_signal_is_noted_and_the_second_ends_at_once():
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        assert signals.exit_status == 130
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_sigterm_has_its_own_status_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.exit_status == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_loss_that_is_no_number_stops_with_its_step_and_the_causes():
    losses = np.array([0.5, np.nan, np.inf], np.float32)
    with pytest.raises(TrainingError) as caught:
        check_losses(losses, 40, saved_step=30, learning_rate=0.1)
    assert "step 42" in caught.value.what and "step 30 is intact" in caught.value.what
    assert "learning_rate (now 0.1)" in caught.value.hint


def test_the_best_score_follows_its_metric():
    loss, accuracy, last = BestScore("val_loss"), BestScore("val_accuracy"), BestScore("last")
    first, second = {"val_loss": 0.5, "val_accuracy": 0.9}, {"val_loss": 0.6, "val_accuracy": 0.95}
    assert [loss.improves(1, first), loss.improves(2, second), loss.step] == [True, False, 1]
    assert [accuracy.improves(1, first), accuracy.improves(2, second), accuracy.step] == [True, True, 2]
    assert [last.improves(1, first), last.step] == [False, None]

"""The plain lines of a training, where stderr is no terminal."""

from __future__ import annotations

import re
import time

import pytest

from railcar.training.progress import Reporter, TrainingBar


def test_the_time_left_is_told_by_the_steps_after_the_first_report_which_compiled(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    reporter = Reporter()
    row = {"loss": 0.5, "accuracy": 0.9, "examples_per_s": 1000.0}
    with reporter.bar(n_steps=1000, first_step=0) as bar:
        assert isinstance(bar, TrainingBar)
        now += 40.0  # compiling, and ten steps
        bar.update(10, row)
        now += 11.0  # 110 steps, ten a second
        bar.update(120, row)
    reporter.close()
    first, second = capfd.readouterr().err.splitlines()
    assert first.endswith("1,000 img/s")
    assert re.search(r"step +120/1000 .*1 min 28 s left$", second)

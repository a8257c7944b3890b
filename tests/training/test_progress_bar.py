"""What a training says of itself: plain lines where stderr is no terminal, a live view where it is one."""

from __future__ import annotations

import re
import sys
import time

import pytest

from railcar.training.progress import Reporter, TrainingBar
from tests.terminal import Screen, run_in_terminal

PROGRAM = """
import sys, time
from railcar.training.progress import Reporter

reporter = Reporter()
reporter.say("run  somewhere")
with reporter.bar(n_steps=90, first_step=0, noun="rows") as bar:
    for step in range(10, 91, 10):
        bar.update(step, {"loss": 20 / step, "accuracy": step / 100, "examples_per_s": 500.0})
        time.sleep(0.06)
        if step % 30 == 0:
            bar.validated(step, {"val_loss": 21 / step, "val_accuracy": step / 100}, is_best=step == 60)
reporter.say("trained")
reporter.close()
"""
LINES = """run  somewhere
  step     30/90  val loss 0.7000  val accuracy 30.00%
  step     60/90  val loss 0.3500  val accuracy 60.00% (best)
  step     90/90  val loss 0.2333  val accuracy 90.00%
"""


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


def test_on_a_terminal_the_view_stands_below_the_lines_and_leaves_its_curve() -> None:
    seen: list[str] = []

    def note(screen: Screen, process: object) -> None:
        seen.append(str(screen))

    status, screen = run_in_terminal([sys.executable, "-c", PROGRAM], on_output=note)
    shown = str(screen)

    assert status == 0
    assert any("train ━" in one and "rows/s" in one and "best  loss 0.3500" in one for one in seen)
    assert shown.startswith(LINES)
    assert re.search(r"\n +2 ┤.*•\n.*loss of steps 10 to 90\ntrained$", shown, re.DOTALL)
    assert "train ━" not in shown
    assert "\x1b[36m" in screen.written


def test_without_colours_the_view_has_none() -> None:
    _, screen = run_in_terminal([sys.executable, "-c", PROGRAM], columns=50, env={"NO_COLOR": "1"})

    assert not re.search(r"\x1b\[\d*m", screen.written)
    assert "training  • validation" in str(screen)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"CI": "true"}], ids=["dumb", "CI"])
def test_a_terminal_that_cannot_draw_and_a_log_have_plain_lines(env: dict[str, str]) -> None:
    _, screen = run_in_terminal([sys.executable, "-c", PROGRAM], env=env)

    assert str(screen) == f"{LINES}trained"
    assert "\x1b" not in screen.written

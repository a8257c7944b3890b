"""Is a GPU worth it? What is timed here is told as such, what is guessed as a range."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from railcar.workflows.estimate import look_at_gpus


def test_a_training_that_is_done_before_a_machine_is_ready_stays_here():
    found = look_at_gpus(1000, 0.01, 1e9)
    assert found.here_s == pytest.approx(10)
    assert found.verdict().startswith("train here")


def test_one_of_many_hours_with_much_arithmetic_is_worth_it():
    found = look_at_gpus(100_000, 2.0, 4e11)
    assert found.verdict().startswith("worth it: railcar train ... --on ")
    assert all(low < high < found.here_s for low, high in (one.training_s for one in found.gpus))


def test_between_the_two_it_says_that_it_does_not_know():
    assert look_at_gpus(5000, 0.1, 4e10).verdict().startswith("perhaps")


def test_more_peak_is_never_slower_and_the_cheapest_comes_first():
    found = look_at_gpus(10_000, 1.0, 1e12)
    by_name = {one.gpu: one.training_s for one in found.gpus if one.provider == "aws"}
    assert by_name["H100"][0] < by_name["L4"][0] < by_name["T4"][0]
    assert [one.usd[1] for one in found.gpus] == sorted(one.usd[1] for one in found.gpus)


def test_the_command_times_steps_and_trains_nothing(tmp_path):
    words = ["train", "mnist-sample", "--estimate", "--json", "--runs-dir", str(tmp_path / "runs")]
    words += ["--set", "training.epochs=1"]
    done = subprocess.run([sys.executable, "-m", "railcar", *words], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["step_s"] > 0 and found["here_s"] == pytest.approx(found["step_s"] * found["n_steps"])
    assert found["flop"] and found["verdict"].startswith("train here")
    assert not (tmp_path / "runs").exists()

from __future__ import annotations

from dataclasses import replace

import numpy as np

from railcar.training.guard import Circumstances, explain_bad_loss, explain_bad_weights, find_bad_loss

CALM = Circumstances(
    run="tiny", peak_rate=0.1, precision="float32", scale="standard", recent=[0.6, 0.5, 0.5], saved_step=30
)


def test_the_first_loss_that_is_no_number_is_found():
    assert find_bad_loss(np.array([0.5, np.nan, np.inf], np.float32)) == 1
    assert find_bad_loss(np.array([0.5, 0.4], np.float32)) is None


def test_the_step_the_checkpoint_and_the_way_on_are_named():
    error = explain_bad_loss(42, float("nan"), CALM)
    assert "step 42" in error.what and "step 30 is intact" in error.what
    assert "learning_rate to 0.01 (now 0.1)" in error.hint and "railcar train --from tiny" in error.hint
    fresh = explain_bad_loss(42, float("nan"), replace(CALM, saved_step=None))
    assert "no checkpoint" in fresh.what and "--from" not in fresh.hint
    assert "step 0 is intact" in explain_bad_loss(1, float("inf"), replace(CALM, saved_step=0)).what


def test_the_causes_follow_from_what_was_seen():
    rising = explain_bad_loss(42, float("nan"), replace(CALM, recent=[0.6, 0.5, 2.0]))
    assert "had risen from 0.5 to 2" in rising.hint
    assert "among the first steps" in explain_bad_loss(3, float("nan"), CALM).hint
    half = explain_bad_loss(42, float("nan"), replace(CALM, precision="float16", scale="none"))
    assert "float16 ends at 65,504" in half.hint and "data.scale to standard" in half.hint
    assert "learning_rate" not in half.hint


def test_weights_that_are_spoilt_are_named_by_their_owner():
    assert "the network's kernel" in explain_bad_weights(7, "model/0002/kernel", CALM).what
    assert "the optimizer's velocity" in explain_bad_weights(7, "optimizer/0002/velocity", CALM).what

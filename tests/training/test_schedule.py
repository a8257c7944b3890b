from __future__ import annotations

import pytest

from railcar.training.schedule import StepPlan, build_plan


def make_plan(**changes: object) -> StepPlan:
    values = {"n_train": 1000, "batch_size": 100, "steps": None, "epochs": 2.0, "validate_every": "epoch"}
    values |= {"checkpoint_every": "epoch", "log_every": None, "steps_per_call": None}
    return build_plan(**(values | changes))  # type: ignore[arg-type]


def test_epochs_become_steps_and_an_epoch_is_the_nearest_number_of_steps():
    plan = make_plan()
    assert (plan.n_steps, plan.validate_every, plan.checkpoint_every) == (20, 10, 10)
    assert make_plan(steps=7, epochs=None).n_steps == 7
    assert make_plan(epochs=None).n_steps == 50


@pytest.mark.parametrize("steps_per_call", [1, 3, 7, 100, None])
def test_chunks_cover_every_step_once_and_stop_at_validations_and_checkpoints(steps_per_call: int | None):
    plan = make_plan(
        steps=23, epochs=None, validate_every=10, checkpoint_every=4, log_every=5, steps_per_call=steps_per_call
    )
    ends = []
    step = 2
    for first, n in plan.chunks(2):
        assert first == step
        step = first + n
        ends.append(step)
        plan.learn_duration(n, 1e-4)
    assert step == 23
    assert {4, 8, 10, 12, 16, 20, 23} <= set(ends)


def test_chunks_end_where_a_profile_begins_and_ends():
    plan = make_plan(steps=60, epochs=None, validate_every=50, checkpoint_every=50, steps_per_call=20)
    plan.profile = (25, 33)
    assert list(plan.chunks(0)) == [(0, 20), (20, 5), (25, 8), (33, 17), (50, 10)]


def test_calls_grow_towards_a_quarter_of_a_second():
    plan = make_plan(steps=10_000, epochs=None, validate_every=10_000, checkpoint_every=10_000, log_every=10_000)
    sizes = []
    for _, n in plan.chunks(0):
        sizes.append(n)
        plan.learn_duration(n, n * 0.01)
        if len(sizes) == 8:
            break
    assert sizes[0] == 1
    assert sizes[-1] == 25


def test_the_first_call_with_its_tracing_does_not_count():
    plan = make_plan(steps=100, epochs=None, validate_every=100, checkpoint_every=100, log_every=100)
    chunks = plan.chunks(0)
    next(chunks)
    plan.learn_duration(1, 30.0)
    plan.learn_duration(1, 0.01)
    assert next(chunks)[1] > 1


def test_a_call_holds_no_more_images_than_fit_into_memory():
    assert make_plan(example_bytes=224 * 224 * 3).max_steps_per_call == 4
    assert make_plan(example_bytes=10**9).max_steps_per_call == 1

"""A profile: which steps are traced, what is read from a trace, and what is written of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from railcar.data.pipeline import Chunk
from railcar.runs.run_dir import RunDir
from railcar.training.profile import Cost, format_costs, profiled, read_costs


@pytest.fixture(scope="module")
def model() -> keras.Model:
    layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, name="edges"), keras.layers.Flatten(name="flat")]
    return keras.Sequential([*layers, keras.layers.Dense(2, name="answer")], name="net")


@pytest.fixture(scope="module")
def steps(model: keras.Model) -> Any:
    @tf.function(autograph=False)
    def run(inputs: Any) -> Any:
        return tf.reduce_mean(model(inputs))

    def call(chunk: Chunk) -> tuple[Any, Any]:
        return np.array([run(tf.constant(one)).numpy() for one in chunk.inputs]), np.zeros(len(chunk))

    return call


def make_chunk(first_step: int, n: int) -> Chunk:
    return Chunk(first_step, np.ones((n, 4, 8, 8, 1), np.float32), np.zeros((n, 4), np.int32))


def test_the_asked_steps_are_traced_and_the_longest_operations_are_told_by_layer(
    tmp_path: Path, model: keras.Model, steps: Any
) -> None:
    said: list[str] = []
    with profiled(steps, (2, 6), RunDir(tmp_path / "some"), model, said.append) as traced:
        for first, n in ((0, 2), (2, 3), (5, 1), (6, 2)):
            traced(make_chunk(first, n))
    text = (tmp_path / "some" / "profile.txt").read_text()

    assert len(list((tmp_path / "some" / "tensorboard").glob("plugins/profile/*/*.xplane.pb"))) == 1
    assert said[0].startswith("profile of steps 3 to 6: ") and said[0].endswith("profile.txt")
    assert [line[2:] for line in said[1:5]] == text.splitlines()[2:6]
    assert said[5].endswith("railcar tensorboard") and len(said) == 6
    assert text.startswith("Steps 3 to 6 of some, ")
    rows = [line.split() for line in text.splitlines()[3:]]
    convolution = next(row for row in rows if "Conv2D" in row[3])
    assert convolution[2] == "1" and convolution[4] == "edges"
    assert max(map(len, text.splitlines())) <= 80


def test_what_was_traced_until_an_error_is_kept_and_the_error_is_raised(
    tmp_path: Path, model: keras.Model, steps: Any
) -> None:
    said: list[str] = []
    with (
        pytest.raises(KeyboardInterrupt),
        profiled(steps, (0, 9), RunDir(tmp_path), model, said.append) as traced,
    ):
        traced(make_chunk(0, 2))
        raise KeyboardInterrupt
    assert said[0].startswith("profile of steps 1 to 2: ")


def test_a_training_that_ends_before_the_first_step_is_told_to_have_no_profile(
    tmp_path: Path, model: keras.Model, steps: Any
) -> None:
    said: list[str] = []
    with profiled(steps, (100, 120), RunDir(tmp_path), model, said.append) as traced:
        traced(make_chunk(0, 2))
    assert said == ["profile: nothing was traced: the training ended before step 101"]
    assert not (tmp_path / "profile.txt").exists()


def add_event(plane: Any, line: Any, name: str, start_us: int, us: int, *, kind: str = "", **stats: str) -> None:
    number = len(plane.event_metadata) + 1
    plane.event_metadata[number].name, plane.event_metadata[number].display_name = name, kind
    event = line.events.add(metadata_id=number, offset_ps=start_us * 10**6, duration_ps=us * 10**6)
    for key, value in stats.items():
        known = len(plane.stat_metadata) + 1
        plane.stat_metadata[known].name = key
        event.stats.add(metadata_id=known, str_value=value)


def make_space() -> tuple[Any, Any]:
    """A trace with one call of a millisecond, and its plane of the processor."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space: Any = xplane_pb2.XSpace()  # pyright: ignore[reportAttributeAccessIssue]
    plane = space.planes.add(name="/host:CPU")
    add_event(plane, plane.lines.add(name="python"), "train", 100, 1000)
    return space, plane


def test_an_operation_counts_without_those_inside_it_and_only_within_a_call(tmp_path: Path) -> None:
    space, plane = make_space()
    line = plane.lines.add(name="thread")
    add_event(plane, line, "outer/Call:Call", 200, 300, kind="Call")
    add_event(plane, line, "gradient_tape/net_1/dense_2/MatMul:MatMul", 250, 100, kind="MatMul")
    add_event(plane, line, "net_1/dense_2/MatMul:MatMul", 50, 20, kind="MatMul")  # before the call
    add_event(plane, line, "some_fusion", 600, 40, hlo_op="some_fusion")
    add_event(plane, line, "no operation", 700, 40)
    (tmp_path / "a.xplane.pb").write_bytes(space.SerializeToString())
    costs, seconds = read_costs([tmp_path / "a.xplane.pb"], {"dense_2"})

    found = {(one.kind, one.layer): (one.n, round(one.seconds * 1e6)) for one in costs}
    assert found == {("Call", ""): (1, 200), ("MatMul", "dense_2"): (1, 100), ("XLA some_fusion", ""): (1, 40)}
    assert seconds == pytest.approx(1e-3)


def test_where_a_gpu_is_at_work_its_kernels_count_under_their_operations(tmp_path: Path) -> None:
    space, plane = make_space()
    add_event(plane, plane.lines.add(name="thread"), "net/conv/Conv2D:Conv2D", 200, 5, kind="Conv2D")
    gpu = space.planes.add(name="/device:GPU:0")
    stream = gpu.lines.add(name="Stream #13")
    add_event(gpu, stream, "sm90_xmma_fprop", 300, 70, tf_op="while/body/_1/net/conv/Conv2D:Conv2D")
    add_event(gpu, stream, "sm90_xmma_other", 400, 30, tf_op="while/body/_1/net/conv/Conv2D:Conv2D")
    add_event(gpu, stream, "a kernel of nobody", 500, 10)
    (tmp_path / "a.xplane.pb").write_bytes(space.SerializeToString())
    costs, _ = read_costs([tmp_path / "a.xplane.pb"], {"conv"})

    found = [(one.kind, one.layer, one.n, round(one.seconds * 1e6)) for one in costs]
    assert found == [("Conv2D", "conv", 2, 100), ("a kernel of nobody", "", 1, 10)]


def test_beyond_the_ten_longest_there_is_one_line_for_the_rest() -> None:
    costs = [Cost(f"Op{index}", "layer", 20, 0.02 * (12 - index)) for index in range(12)]
    lines = format_costs(costs, 20).splitlines()

    assert lines[1].split() == ["12", "15.4%", "1", "Op0", "layer"]
    assert lines[11].split() == ["3", "3.8%", "2", "others"]

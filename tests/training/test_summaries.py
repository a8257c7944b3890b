"""What TensorBoard reads back from a run's event files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from railcar.models.image import build_cnn
from railcar.training.summaries import Summaries, _write_histogram

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)


@pytest.fixture
def model() -> keras.Model:
    return build_cnn(
        image_shape=(8, 8, 1), n_classes=3, mean=(128.0,), std=(64.0,), filters=(4,), dense=(6,), dropout=0.5
    )


def read_events(folder: Path) -> EventAccumulator:
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def read_values(events: EventAccumulator, tag: str) -> list[Any]:
    from tensorboard.util.tensor_util import make_ndarray

    return [make_ndarray(event.tensor_proto) for event in events.Tensors(tag)]


def plugin_of(events: EventAccumulator, tag: str) -> str:
    return events.summary_metadata[tag].plugin_data.plugin_name


def test_scalars_are_read_back_with_their_steps_and_none_is_left_out(tmp_path: Path) -> None:
    with Summaries(tmp_path) as summaries:
        summaries.scalars(10, {"train/loss": 0.5, "validation/loss": None})
        summaries.scalars(20, {"train/loss": 0.25})
    events = read_events(tmp_path)

    assert [event.step for event in events.Tensors("train/loss")] == [10, 20]
    assert [float(value) for value in read_values(events, "train/loss")] == [0.5, 0.25]
    assert "validation/loss" not in events.Tags()["tensors"]


def test_activations_have_a_histogram_and_a_sparsity_for_each_layer_that_computes(
    tmp_path: Path, model: keras.Model
) -> None:
    with Summaries(tmp_path) as summaries:
        summaries.activations(model, IMAGES, step=1)
    events = read_events(tmp_path)
    inner = keras.Model(model.input, model.get_layer("conv1").output)
    expected = np.asarray(inner(IMAGES))

    names = {tag.removeprefix("activations/") for tag in events.Tags()["tensors"] if tag.startswith("activations/")}
    assert names == {"scale", "conv1", "pool1", "dense1", "logits"}
    assert plugin_of(events, "activations/conv1") == "histograms"
    [buckets] = read_values(events, "activations/conv1")
    assert buckets[:, 2].sum() == expected.size
    assert float(read_values(events, "sparsity/conv1")[0]) == pytest.approx(float((expected == 0).mean()), abs=1e-3)


def test_weights_have_a_histogram_each_that_counts_all_of_them(tmp_path: Path, model: keras.Model) -> None:
    with Summaries(tmp_path) as summaries:
        summaries.weights(model, step=3)
    events = read_events(tmp_path)

    kernel = np.asarray(model.get_layer("conv1").kernel)
    [buckets] = read_values(events, "weights/conv1/kernel")
    assert buckets[:, 2].sum() == kernel.size
    assert buckets[0, 0] == pytest.approx(kernel.min())
    assert buckets[-1, 1] == pytest.approx(kernel.max())
    assert {f"weights/{variable.path}" for variable in model.weights} <= set(events.Tags()["tensors"])


def test_values_that_are_not_finite_do_not_stop_the_summaries(tmp_path: Path, model: keras.Model) -> None:
    kernel = model.get_layer("logits").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with Summaries(tmp_path) as summaries:
        summaries.weights(model, step=1)
        summaries.activations(model, IMAGES, step=1)

    [buckets] = read_values(read_events(tmp_path), "activations/logits")
    assert buckets[:, 2].sum() == 0


@pytest.mark.parametrize("values", [[3.0, 3.0 + 2.4e-7], [-1e-30, -1.0000001e-30], [7.0, 7.0], [0.0, 1e-38], []])
def test_values_that_are_nearly_alike_have_a_histogram_too(tmp_path: Path, values: list[float]) -> None:
    writer: Any = tf.summary.create_file_writer(str(tmp_path))
    with writer.as_default(step=0):
        _write_histogram("alike", np.array(values, np.float32))
    writer.close()
    [found] = read_values(read_events(tmp_path), "alike")
    assert found.shape == (30, 3) and found[:, 2].sum() == len(values)


def test_the_graph_is_there_with_operations_named_by_layer(tmp_path: Path, model: keras.Model) -> None:
    with Summaries(tmp_path) as summaries:
        summaries.graph(model)
    nodes = read_events(tmp_path).Graph().node
    names = {node.name for node in nodes}

    assert {"conv1", "pool1", "dense1", "logits"} <= {name.partition("/")[0] for name in names}
    assert {edge.lstrip("^").partition(":")[0] for node in nodes for edge in node.input} <= names


def test_a_second_model_is_watched_anew(tmp_path: Path, model: keras.Model) -> None:
    other = build_cnn(image_shape=(8, 8, 1), n_classes=3, mean=(0.0,), std=(1.0,), filters=(2, 2))
    with Summaries(tmp_path) as summaries:
        summaries.activations(model, IMAGES, step=1)
        summaries.activations(other, IMAGES, step=2)

    assert "activations/conv2" in read_events(tmp_path).Tags()["tensors"]


def test_mixed_precision_activations_are_read_as_float32(tmp_path: Path) -> None:
    mixed = build_cnn(image_shape=(8, 8, 1), n_classes=3, mean=(0.0,), std=(1.0,), filters=(2,), dtype="mixed_bfloat16")
    with Summaries(tmp_path) as summaries:
        summaries.activations(mixed, IMAGES, step=1)

    assert "activations/conv1" in read_events(tmp_path).Tags()["tensors"]


def test_a_batch_is_one_grid_of_images_with_its_labels_described(tmp_path: Path) -> None:
    with Summaries(tmp_path) as summaries:
        summaries.images(IMAGES, np.array([0, 1, 2, 1, 0]), ["cat", "dog", "owl"])
    events = read_events(tmp_path)

    assert plugin_of(events, "batch") == "images"
    width, height = (int(value) for value in read_values(events, "batch")[0][:2])
    assert (width, height) == (24, 16)
    assert "cat, dog, owl" in events.summary_metadata["batch"].summary_description


def test_mistakes_are_a_grid_with_answer_and_label_and_none_are_nothing(tmp_path: Path) -> None:
    with Summaries(tmp_path) as summaries:
        summaries.mistakes(IMAGES[:2], np.array([0, 1]), np.array([1, 2]), ["cat", "dog", "owl"], step=7)
        summaries.mistakes(IMAGES[:0], np.array([]), np.array([]), ["cat", "dog", "owl"], step=8)
    events = read_events(tmp_path)

    assert [event.step for event in events.Tensors("mistakes")] == [7]
    assert "dog (is cat), owl (is dog)" in events.summary_metadata["mistakes"].summary_description

"""Several optimizer steps in one compiled call: the hot code.

One step is: change the images at random, forward, loss, backward, optimizer, average. Between steps nothing returns to
Python. Knows nothing of epochs, records or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from railcar.data.pipeline import Chunk
from railcar.training.average import WeightAverage
from railcar.training.distribute import Replicas, find_statistics

Steps = Callable[[Chunk], tuple[NDArray[np.float32], NDArray[np.float32]]]


def compile_steps(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    *,
    batch_shape: tuple[int, ...],
    compile: str,
    label_smoothing: float = 0.0,
    augment: Callable[[Any, Any, Any], Any] | None = None,
    average: WeightAverage | None = None,
    learn: Callable[[Any, Any], tuple[Any, Any]] | None = None,
    source: Any = None,
    replicas: Replicas | None = None,
    dtype: str = "uint8",
    unit: float | None = None,
    class_weights: tuple[float, ...] | None = None,
) -> Steps:
    """A function of a chunk of n batches that makes n steps and returns (losses, hits): losses float32 [n] are mean
    softmax cross entropies, hits float32 [n] numbers of right answers. With `unit`, the deviation that the targets of a
    regression were scaled by, losses are mean squared errors, and hits sums of absolute errors in the targets' unit.
    `class_weights` are what an example of each class counts in the loss.

    `batch_shape` is (batch, ...) of what the network takes, of `dtype`: (batch, height, width, channels) of images;
    `compile` is "eager", "graph" or "xla". n may differ from call to call without a new trace. `label_smoothing` is the
    share of the target that is spread evenly over all classes (Szegedy et al., 2016). `augment` (`training/augment.py`)
    needs chunks with draws. With `source`, a tensor uint8 [N, height, width, channels] on the device, chunks have rows
    of it in place of images. `learn` makes a step of inputs and labels, in place of forward, loss, backward and
    optimizer. With `replicas` the batch is this worker's part of the whole one, and losses and hits are
    those of the whole.
    """
    compare = build_comparison(label_smoothing, unit, class_weights)
    if learn is not None:
        make_step = learn
    elif replicas:
        make_step = _build_shared_learning(model, optimizer, compare, replicas, batch_shape[0], compile)
    else:
        make_step = _build_learning(model, optimizer, compare)
        if compile == "xla":
            make_step = tf.function(make_step, jit_compile=True)

    def on_replica(examples: Any, labels: Any, draws: Any) -> tuple[Any, Any]:
        inputs = examples if source is None else tf.gather(source, examples)
        if augment:
            inputs = augment(inputs, *draws)
        return make_step(inputs, labels)

    def one_step(step: Any, examples: Any, labels: Any, draws: Any) -> tuple[Any, Any]:
        batch = (examples, labels, draws)
        loss, n_right = replicas.run(on_replica, batch) if replicas else on_replica(*batch)
        if average:
            average.update(step + 1)
        return loss, n_right

    if compile == "eager":
        return _as_arrays(_eager_steps(one_step), has_draws=augment is not None)
    example_dtype, label_dtype = tf.as_dtype(dtype), tf.int32 if unit is None else tf.float32
    signature = _signature(batch_shape, (example_dtype, label_dtype), source is not None, augment is not None)
    return _as_arrays(_graph_steps(one_step, signature), has_draws=augment is not None)


def fall_back(steps: Steps, build_other: Callable[[], Steps], explain: Callable[[str], None]) -> Steps:
    """`steps`, made by XLA, or where XLA cannot compile the network those of `build_other`: found out in the first
    call, before anything is changed. `explain` is then told why, in one line."""
    chosen: list[Steps] = []

    def call(chunk: Chunk) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if chosen:
            return chosen[0](chunk)
        try:
            result = steps(chunk)
            chosen.append(steps)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            lines = [line for line in str(error).splitlines() if "XLA" in line or "compil" in line]
            if not lines:
                raise
            explain(lines[0].strip())
            chosen.append(build_other())
            result = chosen[0](chunk)
        return result

    return call


Compare = Callable[[Any, Any], tuple[Any, Any]]
"""Labels [batch] and the network's outputs [batch, n_outputs] -> losses and hits, float32 [batch] each."""


def build_comparison(label_smoothing: float, unit: float | None, class_weights: Sequence[float] | None) -> Compare:
    """How answers are measured: against classes, each of which may have a weight in the loss, or with `unit` against
    the scaled targets of a regression."""

    def compare_classes(labels: Any, logits: Any) -> tuple[Any, Any]:
        right = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
        losses = cross_entropy(labels, logits, label_smoothing)
        if class_weights is not None:
            losses *= tf.gather(tf.constant(class_weights, tf.float32), labels)
        return losses, tf.cast(right, tf.float32)

    def compare_numbers(labels: Any, outputs: Any) -> tuple[Any, Any]:
        errors = outputs[:, 0] - labels
        return tf.square(errors), tf.abs(errors) * unit

    return _for_each_member(compare_classes if unit is None else compare_numbers, is_number=unit is not None)


def _for_each_member(compare: Compare, *, is_number: bool) -> Compare:
    """Where a network of several gives outputs [batch, members, n_outputs] each member has a loss of its own, of which
    the mean counts; hits are those of their mean answer."""

    def compare_all(labels: Any, outputs: Any) -> tuple[Any, Any]:
        if len(outputs.shape) == 2:
            return compare(labels, outputs)
        n_members = outputs.shape[1]
        losses, _ = compare(tf.repeat(labels, n_members), tf.reshape(outputs, (-1, outputs.shape[2])))
        together = tf.reduce_mean(outputs if is_number else tf.nn.softmax(outputs), axis=1)
        return tf.reduce_mean(tf.reshape(losses, (-1, n_members)), axis=1), compare(labels, together)[1]

    return compare_all


def _build_learning(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, compare: Compare
) -> Callable[..., tuple[Any, Any]]:
    def learn(inputs: Any, labels: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            losses, hits = compare(labels, model(inputs, training=True))
            loss = tf.reduce_mean(losses)
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, tf.reduce_sum(hits)

    return learn


def _build_shared_learning(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    compare: Compare,
    replicas: Replicas,
    n_rows: int,
    compile: str,
) -> Callable[..., tuple[Any, Any]]:
    """The same on one of several replicas: it sees its rows of the batch, and all make the same step. `n_rows` are
    those of a worker. Batch normalisation has the statistics of the replica's rows; the moving ones are averaged."""
    batch_size = n_rows * replicas.n_workers
    statistics = find_statistics(model)

    def differentiate(inputs: Any, labels: Any) -> tuple[Any, Any, Any]:
        with tf.GradientTape() as tape:
            losses, hits = compare(labels, model(inputs, training=True))
            loss = tf.reduce_sum(losses) / batch_size
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        return gradients, loss, tf.reduce_sum(hits)

    if compile == "xla":
        # Without the sums: XLA does not compile those between machines.
        differentiate = tf.function(differentiate, jit_compile=True)

    def learn(inputs: Any, labels: Any) -> tuple[Any, Any]:
        gradients, loss, n_right = differentiate(inputs, labels)
        shares = [variable.value / replicas.n_replicas for variable in statistics]
        *sums, loss, n_right = replicas.sum([*gradients, *shares, loss, n_right])
        for variable, value in zip(statistics, sums[len(gradients) :], strict=True):
            variable.assign(value)
        optimizer.apply(sums[: len(gradients)], model.trainable_variables)
        return loss, n_right

    return learn


def cross_entropy(labels: Any, logits: Any, smoothing: float) -> Any:
    """float32 [batch]: softmax cross entropies of `logits` float32 [batch, n_classes] and `labels` integers [batch]."""
    if not smoothing:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    n_classes = logits.shape[-1]
    rest = smoothing / n_classes
    targets = tf.one_hot(labels, n_classes, on_value=1.0 - smoothing + rest, off_value=rest)
    return tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits)


def _eager_steps(one_step: Callable[..., Any]) -> Callable[..., Any]:
    def run(first_step: Any, examples: Any, labels: Any, *draws: Any) -> tuple[Any, Any]:
        pairs = [
            one_step(first_step + index, tf.constant(examples[index]), tf.constant(labels[index]), _at(draws, index))
            for index in range(len(labels))
        ]
        return tf.stack([loss for loss, _ in pairs]), tf.stack([hits for _, hits in pairs])

    return run


def _graph_steps(one_step: Callable[..., Any], signature: list[tf.TensorSpec]) -> Callable[..., Any]:
    def run(first_step: Any, examples: Any, labels: Any, *draws: Any) -> tuple[Any, Any]:
        n_steps = tf.shape(labels)[0]
        record = [tf.TensorArray(tf.float32, size=n_steps) for _ in range(2)]

        def body(index: Any, losses: Any, hits: Any) -> tuple[Any, Any, Any]:
            step = first_step + tf.cast(index, tf.int64)
            loss, n_right = one_step(step, examples[index], labels[index], _at(draws, index))
            return index + 1, losses.write(index, loss), hits.write(index, n_right)

        _, losses, hits = tf.while_loop(
            lambda index, *_: index < n_steps, body, (tf.constant(0), *record), parallel_iterations=1
        )
        return losses.stack(), hits.stack()

    return tf.function(run, input_signature=signature, autograph=False)


def _signature(
    batch_shape: tuple[int, ...], dtypes: tuple[Any, Any], by_row: bool, has_draws: bool
) -> list[tf.TensorSpec]:
    batch = batch_shape[0]
    examples = tf.TensorSpec([None, batch], tf.int32) if by_row else tf.TensorSpec([None, *batch_shape], dtypes[0])
    draws = [tf.TensorSpec([None, batch, 8], tf.float32), tf.TensorSpec([None, batch, 2], tf.int32)]
    return [
        tf.TensorSpec([], tf.int64),
        examples,
        tf.TensorSpec([None, batch], dtypes[1]),
        *(draws if has_draws else []),
    ]


def _at(arrays: tuple[Any, ...], index: Any) -> tuple[Any, ...]:
    """What each of `arrays` has for step `index` of a chunk."""
    return tuple(one[index] for one in arrays)


def _as_arrays(run: Callable[..., Any], *, has_draws: bool) -> Steps:
    def call(chunk: Chunk) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        draws = (chunk.draws.transforms, chunk.draws.boxes) if has_draws and chunk.draws else ()
        losses, hits = run(np.int64(chunk.first_step), chunk.inputs, chunk.labels, *draws)
        return losses.numpy(), hits.numpy()

    return call

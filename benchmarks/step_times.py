"""Where the time of a training step goes: images (or texts) a second, and the operations that take longest.

    python benchmarks/step_times.py [NETWORK]... [--precision float32] [--kernels auto|own] [--top 8] [--json]

Networks: `tutorial` (5x5x32, 5x5x64, dense 1024), `cifar10-tutorial` (3x3x32, 3x3x64, dense 128, batches of 32),
`batch-norm` (a plain CNN with batch normalisation), `airbench` (that of the recipe cifar10), `mobilenet-head`
(MobileNetV2 at 224 pixels, frozen, and a new head), `mobilenet-tuned` (its last block, too), `rnn` and `rnn-100`
(Embedding(1000, 16), SimpleRNN(32); 10 and 100 words), `lstm`. Weights and data are random: a rate does not depend on
them. Each is one compiled step on the CPU: forward, backward and Adam. Times of operations are summed over the threads
of TensorFlow's executor, from its own profiler; what runs inside of one operation on several threads counts once.
"""

from __future__ import annotations

import argparse
import collections
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from railcar.training.tensorflow import import_tensorflow, quiet_stderr

N_CLASSES = 10
BATCH = {"cifar10-tutorial": 32, "airbench": 500, "mobilenet-head": 32, "mobilenet-tuned": 32}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--kernels", choices=["auto", "own"], default="auto")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--top", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if unknown := set(given.networks) - set(NETWORKS):
        parser.error(f"no network {', '.join(sorted(unknown))}")
    import_tensorflow()
    found = {}
    for name in given.networks or NETWORKS:
        with quiet_stderr():
            found[name] = measure(name, given)
        if not given.json:
            show(name, found[name], given.top)
    if given.json:
        print(json.dumps(found, indent=1))


def measure(name: str, given: argparse.Namespace) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    from railcar.training.kernels import choose_kernels, set_kernels

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16" if given.precision == "bfloat16" else "float32")
    batch_size = BATCH.get(name, 128)
    model, inputs = NETWORKS[name](batch_size)
    choice = choose_kernels(model, given.kernels, device="cpu", compile="graph", n_rows=batch_size)
    if choice:
        set_kernels(model, choice.value)
    step = build_step(model, inputs, tf.random.stateless_uniform((batch_size,), (5, 6), 0, N_CLASSES, tf.int32))
    for _ in range(3):
        step()
    started, n_steps = time.perf_counter(), 0
    while time.perf_counter() - started < given.seconds:
        step()
        n_steps += 1
    rate = n_steps * batch_size / (time.perf_counter() - started)
    return {"batch_size": batch_size, "examples_per_s": round(rate, 1), "operations": trace(step)}


def build_step(model: Any, inputs: Any, labels: Any) -> Callable[[], Any]:
    import tensorflow as tf

    from railcar.training.optimizer import FusedAdam

    optimizer = FusedAdam(1e-4)
    optimizer.build(model.trainable_variables)

    def learn() -> Any:
        with tf.GradientTape() as tape:
            logits = tf.cast(model(inputs, training=True), tf.float32)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return tf.function(learn, autograph=False)


def trace(step: Callable[[], Any], n_steps: int = 3) -> list[dict[str, Any]]:
    """Operations by the time that they took, the longest first: `name`, `calls` and `ms` a step, `share` of all."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(n_steps):
            step()
        tf.profiler.experimental.stop()
        [path] = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    times: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    [plane] = [plane for plane in space.planes if plane.name == "/host:CPU"]
    for line in plane.lines:
        if line.name.startswith("tf_Compute"):
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                _, colon, operation = name.rpartition(":")
                if colon and "::" not in name:  # those are the executor's own
                    times[operation] += event.duration_ps
                    calls[operation] += 1
    total = sum(times.values())
    return [
        {
            "name": name,
            "calls": round(calls[name] / n_steps, 1),
            "ms": round(duration / 1e9 / n_steps, 3),
            "share": round(duration / total, 4),
        }
        for name, duration in times.most_common()
    ]


def show(name: str, found: dict[str, Any], top: int) -> None:
    print(f"{name}: {found['examples_per_s']:,.0f} a second in batches of {found['batch_size']}")
    for row in found["operations"][:top]:
        print(f"  {row['name']:<32} {row['ms']:>9.2f} ms {row['share']:>6.1%}  {row['calls']:>6g} calls")


def build_images(batch_size: int, side: int, channels: int) -> Any:
    import tensorflow as tf

    return tf.cast(tf.random.stateless_uniform((batch_size, side, side, channels), (1, 2), 0, 256, tf.int32), tf.uint8)


def build_bundled(recipe_name: str, side: int, channels: int, batch_size: int, **settings: Any) -> tuple[Any, Any]:
    """A network of a bundled recipe's."""
    import keras

    from railcar.models.build import build_model
    from railcar.recipe.load import load_recipe

    node = {**load_recipe(recipe_name).model.model_dump(), **settings}
    numbers = ((127.0,) * channels, (64.0,) * channels)
    precision = "bfloat16" if keras.config.dtype_policy().name == "mixed_bfloat16" else "float32"
    model = build_model(
        node,
        image_shape=(side, side, channels),
        n_classes=N_CLASSES,
        mean=numbers[0],
        std=numbers[1],
        precision=precision,
    )
    return model, build_images(batch_size, side, channels)


def build_batch_norm(batch_size: int) -> tuple[Any, Any]:
    settings = {"filters": [32, 64, 128], "kernel_size": 3, "batch_norm": True, "dense": [], "dropout": 0.0}
    return build_bundled("mnist-tutorial", 28, 1, batch_size, **settings)


def build_mobilenet(batch_size: int, n_trained: int) -> tuple[Any, Any]:
    import keras

    backbone: Any = keras.applications.MobileNetV2((224, 224, 3), include_top=False, weights=None, pooling="avg")
    for layer in backbone.layers[: len(backbone.layers) - n_trained]:
        layer.trainable = False
    inputs = keras.Input((224, 224, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(N_CLASSES)(backbone(scaled, training=False)))
    return model, build_images(batch_size, 224, 3)


def build_texts(batch_size: int, layer_name: str, length: int) -> tuple[Any, Any]:
    import keras
    import tensorflow as tf

    inputs = keras.Input((length,), dtype="int32")
    hidden = keras.layers.Embedding(1000, 16)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(N_CLASSES)(getattr(keras.layers, layer_name)(32)(hidden)))
    return model, tf.random.stateless_uniform((batch_size, length), (3, 4), 0, 1000, tf.int32)


NETWORKS: dict[str, Callable[[int], tuple[Any, Any]]] = {
    "tutorial": lambda batch_size: build_bundled("mnist-tutorial", 28, 1, batch_size),
    "cifar10-tutorial": lambda batch_size: build_bundled("cifar10-tutorial", 32, 3, batch_size),
    "batch-norm": build_batch_norm,
    "airbench": lambda batch_size: build_bundled("cifar10", 32, 3, batch_size),
    "mobilenet-head": lambda batch_size: build_mobilenet(batch_size, 0),
    "mobilenet-tuned": lambda batch_size: build_mobilenet(batch_size, 11),
    "rnn": lambda batch_size: build_texts(batch_size, "SimpleRNN", 10),
    "rnn-100": lambda batch_size: build_texts(batch_size, "SimpleRNN", 100),
    "lstm": lambda batch_size: build_texts(batch_size, "LSTM", 100),
}


if __name__ == "__main__":
    main()

"""One training on several devices or in several processes, by `tf.distribute`.

Chooses the strategy, and owns all that passes between replicas: which rows of the batch each one takes, the sum of
their gradients, what workers tell each other between calls, and what happens when one of them dies. A *replica* is a
device that computes; a *worker* is a process with one or more of them; the *chief* is worker 0, which alone writes.

Variables are made in the strategy's scope. Every worker must make the same ones, and call the methods that talk to the
others in the same order: TensorFlow numbers its messages by that order.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.eager import context  # pyright: ignore[reportMissingImports]  no public way to ask for peers

from railcar.errors import RailcarError, RecipeError, WorkerLost
from railcar.training.cluster import Cluster, check_split
from railcar.training.runtime import Choice

# A worker whose process ended is noticed at once, by its connection; one that is silent (its machine lost power, its
# network is gone) after at most the sum of the two.
HEALTH_EVERY_S = 5.0
HEALTH_TIMEOUT_S = 20.0

_PIECE = 2**17  # int64 numbers of one message of `broadcast`: 1 MiB
_LARGE = 2**16  # elements; smaller tensors travel together
_SEED_STRIDE = 0x9E3779B1  # odd, so that replicas' dropout seeds are all different (mod 2^32)


def choose_distribution(asked: str, *, n_gpus: int, n_logical_cpus: int, cluster: Cluster | None) -> Choice:
    """`none`, `mirrored` or `multi_worker`. `n_logical_cpus` counts only where somebody split the CPU to try it out."""
    n_workers = len(cluster.members) if cluster else 1
    if asked == "none":
        return Choice("none", "as the recipe says")
    if asked == "mirrored" and max(n_gpus, n_logical_cpus) < 2:
        raise RecipeError(
            f"training.distribution: mirrored needs several GPUs, and TensorFlow sees {n_gpus}",
            hint="set training.distribution to auto",
        )
    if asked == "multi_worker" and n_workers < 2:
        raise RecipeError(
            "training.distribution: multi_worker needs several workers, and no TF_CONFIG names them",
            hint="start them with --workers N, or set TF_CONFIG on each machine",
        )
    if asked != "auto":
        return Choice(asked, "as the recipe says")
    if cluster:
        return Choice("multi_worker", f"TF_CONFIG names {n_workers} workers")
    if n_gpus > 1:
        return Choice("mirrored", f"TensorFlow sees {n_gpus} GPUs")
    return Choice("none", "one device")


def choose_for_this_process(asked: str, cluster: Cluster | None) -> Choice:
    """The same, with TensorFlow asked for the devices."""
    n_gpus = len(tf.config.list_physical_devices("GPU"))
    split = tf.config.get_logical_device_configuration(tf.config.list_physical_devices("CPU")[0])
    return choose_distribution(asked, n_gpus=n_gpus, n_logical_cpus=len(split or ()), cluster=cluster)


def join_cluster(cluster: Cluster) -> Replicas:
    """Meet the other workers; waits for all of them. Must come before TensorFlow has computed anything."""
    try:
        return Replicas(tf.distribute.MultiWorkerMirroredStrategy(), cluster)
    except (RuntimeError, ValueError) as error:
        raise RailcarError(
            f"this process cannot join the other workers: {str(error).splitlines()[0]}",
            hint="start the training in a new process, before anything else uses TensorFlow",
        ) from error


def mirror_devices() -> Replicas:
    """A replica on each GPU of this machine; where there are none, on each of the CPUs that it was split into."""
    gpus = tf.config.list_logical_devices("GPU")
    devices = [one.name for one in gpus or tf.config.list_logical_devices("CPU")]
    return Replicas(tf.distribute.MirroredStrategy(devices))


class Replicas:
    """The replicas of one training, as one worker sees them."""

    def __init__(self, strategy: Any, cluster: Cluster | None = None) -> None:
        self.strategy = strategy
        self.cluster = cluster
        self.n_replicas: int = strategy.num_replicas_in_sync
        self.n_workers = len(cluster.members) if cluster else 1
        self.index = cluster.index if cluster else 0
        self.n_local = self.n_replicas // self.n_workers
        self._over_workers = tf.function(self._sum_over_workers, autograph=False)
        self._left = threading.Event()
        self._silent: int | None = None
        if cluster:
            threading.Thread(target=self._watch, name="railcar-health", daemon=True).start()

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def scope(self) -> Any:
        """Variables that are made inside are on every replica."""
        return self.strategy.scope()

    # The batch

    def part(self, batch_size: int) -> slice:
        """The examples of each batch that this worker reads."""
        n_rows = batch_size // self.n_workers
        return slice(self.index * n_rows, (self.index + 1) * n_rows)

    def check_batch(self, batch_size: int) -> None:
        """Raise `RecipeError` when the batch does not split evenly."""
        check_split(batch_size, self.n_replicas, "workers" if self.n_local == 1 else "devices")

    # Inside the compiled call

    def run(self, function: Callable[..., Any], batch: tuple[Any, ...] = ()) -> Any:
        """`function` on each replica of this worker, with its rows of `batch`; what the first one returns."""
        results = self.strategy.run(lambda: function(*self._own(batch)))
        return tf.nest.map_structure(lambda one: self.strategy.experimental_local_results(one)[0], results)

    def _own(self, tensors: Any) -> Any:
        """On a replica: its rows of tensors that have the rows of its worker."""
        if self.n_local == 1:
            return tensors
        number = _replica_id() - self.index * self.n_local

        def cut(tensor: Any) -> Any:
            n_rows = tensor.shape[0] // self.n_local
            return tf.ensure_shape(tensor[number * n_rows : (number + 1) * n_rows], (n_rows, *tensor.shape[1:]))

        return tf.nest.map_structure(cut, tensors)

    def sum(self, tensors: Sequence[Any]) -> list[Any]:
        """On a replica: the sums over all replicas, float32. Large tensors travel by themselves, the others in one."""
        large = [index for index, one in enumerate(tensors) if one.shape.num_elements() >= _LARGE]
        small = [index for index in range(len(tensors)) if index not in large]
        result: list[Any] = [None] * len(tensors)
        for index in large:
            result[index] = tf.cast(_all_reduce(_as_computed(tensors[index])), tf.float32)
        if small:
            together = _all_reduce(tf.concat([tf.reshape(tensors[index], [-1]) for index in small], axis=0))
            parts = tf.split(together, [tensors[index].shape.num_elements() for index in small])
            for index, part in zip(small, parts, strict=True):
                result[index] = tf.reshape(part, tensors[index].shape)
        return result

    # Between calls

    def agree(self, own: Sequence[int]) -> NDArray[np.int64]:
        """int64 [n_workers, k]: the k numbers of every worker."""
        numbers = np.zeros((self.n_workers, len(own)), np.int64)
        numbers[self.index] = own
        if self.n_workers == 1:
            return numbers
        with self.guarded():
            return self._over_workers(tf.constant(numbers)).numpy()

    def broadcast(self, data: bytes, *, source: int = 0) -> bytes:
        """The bytes of worker `source`. Those of the others are ignored."""
        if self.n_workers == 1:
            return data
        n_bytes = int(self.agree([len(data)])[source, 0])
        words = np.zeros((-(-n_bytes // (8 * _PIECE)), _PIECE), np.int64)
        if self.index == source:
            words.reshape(-1).view(np.uint8)[:n_bytes] = np.frombuffer(data, np.uint8)
        with self.guarded():
            # The others add zeros, so every bit arrives as it was.
            words = [self._over_workers(tf.constant(piece)).numpy() for piece in words]
        return np.concatenate(words).tobytes()[:n_bytes] if words else b""

    def share(self, value: Any, *, source: int = 0) -> Any:
        """The same for what JSON knows."""
        return json.loads(self.broadcast(json.dumps(value).encode(), source=source))

    def all_well(self, error: RailcarError | None) -> None:
        """Raise an error here when any worker has one. To be called by all at the same point."""
        failed = np.flatnonzero(self.agree([error is not None])[:, 0])
        if not failed.size:
            return
        source = int(failed[0])
        what, hint = self.share([error.what, error.hint] if error else None, source=source)
        if error is None and self.cluster:
            raise RailcarError(f"{self.cluster.name(source)}: {what}", hint=hint)

    def share_variables(self, variables: Sequence[Any]) -> None:
        """Give all workers the chief's values, to the bit."""
        if self.n_workers == 1:
            return
        values = [np.asarray(one) for one in variables]
        data = self.broadcast(b"".join(one.tobytes() for one in values) if self.is_chief else b"")
        if self.is_chief:
            return
        start = 0
        for variable, value in zip(variables, values, strict=True):
            variable.assign(np.frombuffer(data, value.dtype, value.size, start).reshape(value.shape))
            start += value.nbytes

    def part_seeds(self, model: Any) -> None:
        """Let dropout draw other numbers on each replica. A checkpoint has the first replica's state, from which the
        others' follow, so a run on as many replicas goes on exactly."""
        for variable in model.variables:
            if variable.name == "seed_generator_state":  # Keras' name for it: seed, number of draws
                value = np.asarray(variable)
                first = self.index * self.n_local
                for number, one in enumerate(self.strategy.experimental_local_results(variable.value), first):
                    one.assign(np.array([(int(value[0]) + number * _SEED_STRIDE) % 2**32, value[1]], value.dtype))

    def leave(self) -> None:
        """The others may end from now on."""
        self._left.set()

    def abandon(self) -> None:
        """End what the others wait for: this worker does not go on."""
        self._left.set()
        if self.cluster:
            running: Any = context.context()
            running.abort_collective_ops(tf.errors.UNAVAILABLE, f"worker {self.index} stopped")

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Turns what TensorFlow says of a worker that is gone into `WorkerLost`."""
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
            if not self.cluster:
                raise
            raise WorkerLost(f"{self._find_lost(self.cluster, str(error))} died, or cannot be reached") from error

    def _find_lost(self, cluster: Cluster, words: str) -> str:
        said = re.search(r"worker (\d+) stopped", words)
        named = [index for index, one in enumerate(cluster.members) if one.target in words]
        silent = [self._silent] if self._silent is not None else []
        found = silent or ([int(said[1])] if said else cluster.find_dead() or named)
        return " and ".join(cluster.name(index) for index in found) or "another worker"

    def _sum_over_workers(self, numbers: Any) -> Any:
        def on_replica() -> Any:
            is_first = tf.equal(_replica_id() % self.n_local, 0)
            return _all_reduce(tf.where(is_first, numbers, tf.zeros_like(numbers)))

        return self.run(on_replica)

    def _watch(self) -> None:
        """Abort what waits for a worker that is silent. TensorFlow itself would wait for ever."""
        running: Any = context.context()
        while self.cluster and not self._left.wait(HEALTH_EVERY_S):
            for index, member in enumerate(self.cluster.members):
                if index == self.index:
                    continue
                try:
                    running.check_collective_ops_peer_health(member.target, timeout_in_ms=int(HEALTH_TIMEOUT_S * 1000))
                except tf.errors.OpError:
                    if not self._left.is_set():
                        self._silent = index
                        running.abort_collective_ops(tf.errors.UNAVAILABLE, f"worker {index} does not answer")
                    return


def find_statistics(model: keras.Model) -> list[Any]:
    """The moving averages of batch normalisation that a training step changes."""
    layers = model._flatten_layers(include_self=False, recursive=True)
    norms = [one for one in layers if isinstance(one, keras.layers.BatchNormalization) and one.trainable]
    return [variable for one in norms for variable in (one.moving_mean, one.moving_variance)]


def _replica_id() -> Any:
    running: Any = tf.distribute.get_replica_context()
    return running.replica_id_in_sync_group


def _all_reduce(tensor: Any) -> Any:
    running: Any = tf.distribute.get_replica_context()
    return running.all_reduce(tf.distribute.ReduceOp.SUM, tensor)


def _as_computed(tensor: Any) -> Any:
    """In bfloat16 training, a large gradient is a float32 copy of bfloat16 numbers: these travel, at half the size."""
    if tf.is_symbolic_tensor(tensor) and tensor.op.type == "Cast" and tensor.op.inputs[0].dtype == tf.bfloat16:
        return tensor.op.inputs[0]
    return tensor

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from railcar.data.augment import Augmentation
from railcar.data.pipeline import Batches
from railcar.data.types import Split
from railcar.errors import RecipeError
from railcar.training.cluster import Cluster, Member
from railcar.training.distribute import choose_distribution
from tests.synthetic import make_images

CLUSTER = Cluster((Member("worker", 0, "a:1"), Member("worker", 1, "b:1")), 0)

# As a process of its own: a CPU can be split only before TensorFlow has computed anything.
STEPS = """
import json, sys
from contextlib import nullcontext
import numpy as np
import tensorflow as tf
from railcar.data.pipeline import Chunk
from railcar.models.build import build_model
from railcar.training.compiled import compile_steps
from railcar.training.distribute import mirror_devices
from railcar.training.optimizer import Schedule, build_optimizer
from tests.synthetic import make_images

cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)

def run(replicas, compile, precision, dropout=0.0, batch_norm=False):
    settings = {"name": "cnn", "filters": [4], "dropout": dropout, "batch_norm": batch_norm}
    with replicas.scope() if replicas else nullcontext():
        model = build_model(settings, image_shape=(12, 12, 1), n_classes=3, mean=(60.0,), std=(50.0,),
                            precision=precision, seed=1)
        schedule = Schedule("cosine", peak=0.01, warmup_steps=2, n_steps=12)
        optimizer = build_optimizer("adamw", schedule, model=model, weight_decay=0.01,
                                    scale_loss=precision == "float16")
    if replicas:
        replicas.part_seeds(model)
    steps = compile_steps(model, optimizer, batch_shape=(8, 12, 12, 1), compile=compile, replicas=replicas)
    images, labels = make_images(8 * 12)
    images, labels = images.reshape(12, 8, 12, 12, 1), labels.reshape(12, 8)
    parts = [steps(Chunk(a, images[a:b], labels[a:b])) for a, b in ((0, 1), (1, 12))]
    losses, hits = (np.concatenate(one).tolist() for one in zip(*parts))
    variables = [*model.variables, *optimizer.variables]
    local = replicas.strategy.experimental_local_results if replicas else lambda value: [value]
    different = [one.name for one in variables if len({np.asarray(copy).tobytes() for copy in local(one.value)}) > 1]
    return {"losses": losses, "hits": hits, "different": different, "n": replicas.n_replicas if replicas else 1}

pair = mirror_devices()
plain = [(how, precision) for how, precision in (("graph", "float32"), ("xla", "float32"), ("graph", "float16"))]
result = [[run(one, *how) for one in (None, pair)] for how in plain]
result.append([run(pair, "graph", "float32", dropout=0.3, batch_norm=True) for _ in range(2)])
print(json.dumps(result))
"""


@pytest.mark.parametrize(
    ("asked", "n_gpus", "cluster", "value", "reason"),
    [
        ("auto", 0, None, "none", "one device"),
        ("auto", 1, None, "none", "one device"),
        ("auto", 4, None, "mirrored", "TensorFlow sees 4 GPUs"),
        ("auto", 4, CLUSTER, "multi_worker", "TF_CONFIG names 2 workers"),
        ("none", 4, None, "none", "as the recipe says"),
        ("mirrored", 2, None, "mirrored", "as the recipe says"),
    ],
)
def test_the_strategy_is_chosen_with_a_reason(
    asked: str, n_gpus: int, cluster: Cluster | None, value: str, reason: str
):
    choice = choose_distribution(asked, n_gpus=n_gpus, n_logical_cpus=0, cluster=cluster)
    assert (choice.value, choice.reason) == (value, reason)


@pytest.mark.parametrize(("asked", "words"), [("mirrored", "sees 1"), ("multi_worker", "no TF_CONFIG")])
def test_what_this_machine_cannot_do_is_refused(asked: str, words: str):
    with pytest.raises(RecipeError, match=words):
        choose_distribution(asked, n_gpus=1, n_logical_cpus=0, cluster=None)


def test_the_parts_of_a_batch_are_all_of_it_without_overlap():
    images, labels = make_images(50)
    split = Split("train", images, labels, np.arange(50), "row")
    augmentation = Augmentation((12, 12, 1), 3, flip=True, shift=0.2, cutout=0.3)
    whole = Batches(split, 12, 3, augmentation=augmentation).chunk(2, 5)
    parts = [Batches(split, 12, 3, augmentation=augmentation, part=slice(a, a + 4)).chunk(2, 5) for a in (0, 4, 8)]
    for name in ("inputs", "labels"):
        together = np.concatenate([getattr(one, name) for one in parts], axis=1)
        np.testing.assert_array_equal(together, getattr(whole, name))
    assert whole.draws is not None
    for name in ("transforms", "boxes"):
        together = np.concatenate([getattr(one.draws, name) for one in parts], axis=1)
        np.testing.assert_array_equal(together, getattr(whole.draws, name))


def test_two_mirrored_devices_make_the_steps_of_one(project):
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, cwd=project, check=False)
    assert done.returncode == 0, done.stderr
    *pairs, (first, second) = json.loads(done.stdout)
    for alone, pair in pairs:
        assert (alone["n"], pair["n"], pair["different"]) == (1, 2, [])
        np.testing.assert_allclose(pair["losses"], alone["losses"], rtol=1e-3)
        assert pair["hits"] == alone["hits"]
    assert first == second
    assert first["different"] == ["seed_generator_state"], "each replica drops units of its own, all else is the same"

from __future__ import annotations

import json
import socket

import pytest

from railcar.errors import RecipeError, UsageError
from railcar.training.cluster import check_split, read_cluster


def config(jobs: dict[str, list[str]], job: str = "worker", index: int = 0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": jobs, "task": {"type": job, "index": index}})}


def test_workers_are_read_in_tensorflows_order_with_the_chief_first():
    jobs = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    cluster = read_cluster(config(jobs, "worker", 1))
    assert cluster is not None
    assert [one.address for one in cluster.members] == ["a:1", "b:1", "c:1"]
    assert (cluster.index, cluster.is_chief) == (2, False)
    assert cluster.name(2) == "worker 2 (c:1)" and cluster.members[2].target == "/job:worker/replica:0/task:1"
    chief = read_cluster(config({"worker": ["b:1", "c:1"]}))
    assert chief is not None and chief.is_chief


def test_no_or_one_worker_is_no_cluster():
    assert read_cluster({}) is None
    assert read_cluster({"TF_CONFIG": "{}"}) is None
    assert read_cluster(config({"worker": ["a:1"]})) is None


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TF_CONFIG": "{"}, "cannot be read"),
        ({"TF_CONFIG": "[]"}, "cannot be read"),
        (config({"worker": ["a:1", "b:1"]}, index=2), "not in its cluster"),
        (config({"worker": ["a:1", "b:1"], "ps": ["c:1"]}), "of type ps"),
    ],
)
def test_a_tf_config_that_cannot_be_used_is_refused_in_words(environment: dict[str, str], words: str):
    with pytest.raises(UsageError, match=words):
        read_cluster(environment)


def test_the_dead_are_those_at_whose_address_nobody_listens():
    with socket.socket() as alive, socket.socket() as dead:
        alive.bind(("127.0.0.1", 0))
        alive.listen()
        dead.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in (dead, alive, dead)]
        cluster = read_cluster(config({"worker": addresses}))
        assert cluster is not None and cluster.find_dead() == [2]


def test_a_batch_that_does_not_split_evenly_is_refused_with_the_nearest_that_do():
    check_split(128, 4, "workers")
    with pytest.raises(RecipeError, match="100 does not split evenly over 8 GPUs") as caught:
        check_split(100, 8, "GPUs")
    assert caught.value.hint == "set training.batch_size to 96 or 104"

"""What somebody else has made: hostile files are refused before they do anything, sound ones are read with --trust."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import railcar
from railcar.artifact import foreign, keras_file, operations
from railcar.artifact.artifact import read_artifact, read_unsigned
from railcar.artifact.graphs import check_saved_model
from railcar.artifact.keras_file import check_keras_file
from railcar.errors import ArtifactError, ForeignArtifact
from tests.artifact.hostile_files import ALL, KERAS_FILES, OUTSIDE_NAMES, make
from tests.artifact.hostile_graphs import GRAPHS
from tests.artifact.workshop import Bench, Hostile, Outside, seal, write_sound, write_sound_graph

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is touched is seen by Linux' own means")

NOTHING = {"reads": 0, "writes": 0, "connections": 0}
# These are found out by loading them, in the process that is made for it.
LOADED = ("8 GB in a Dense of 1 kB", "400 GB of activations", "samples that are pickles", "samples that promise 16 TB")


def find(name: str) -> Hostile:
    return next(one for one in ALL if one.name == name)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("hostile")
    sound, graph = write_sound(folder / "sound"), write_sound_graph(folder / "graph")
    made = Bench(sound, graph, Outside(folder / "outside"))
    yield made
    made.outside.close()


def test_what_is_outside_is_watched(bench: Bench):
    bench.outside.secret.read_text()
    bench.outside.planted.touch()
    bench.outside.planted.unlink()
    socket.create_connection(("127.0.0.1", int(bench.outside.url.split(":")[2].split("/")[0]))).close()
    time.sleep(0.2)
    touched = bench.outside.touched()
    assert min(touched.values()) > 0 and bench.outside.touched() == NOTHING


@pytest.mark.parametrize("hostile", [one for one in KERAS_FILES if one.name not in LOADED], ids=lambda one: one.name)
def test_a_hostile_keras_file_is_refused_by_what_it_is_made_of(bench: Bench, hostile: Hostile, tmp_path: Path):
    path = make(hostile, bench, tmp_path / "artifact")
    bench.outside.touched()
    with pytest.raises(ForeignArtifact) as caught:
        read_unsigned(path)
        check_keras_file(path / "model.keras")
    assert hostile.told in caught.value.what
    assert bench.outside.touched() == NOTHING and not bench.outside.planted.exists()


@pytest.mark.parametrize("hostile", GRAPHS, ids=lambda one: one.name)
def test_a_hostile_saved_model_is_refused_by_the_operations_it_has(bench: Bench, hostile: Hostile, tmp_path: Path):
    path = make(hostile, bench, tmp_path / "artifact")
    bench.outside.touched()
    with pytest.raises(ForeignArtifact) as caught:
        check_saved_model(path / "saved_model")
    assert hostile.told in caught.value.what
    assert bench.outside.touched() == NOTHING and not bench.outside.planted.exists()


@pytest.mark.parametrize(("name", "kind"), [("serve reads a file", "reads"), ("serve writes a file", "writes")])
def test_such_a_saved_model_would_do_it(bench: Bench, name: str, kind: str, tmp_path: Path):
    """Without it the tests above would prove little."""
    path = make(find(name), bench, tmp_path / "artifact")
    loaded: Any = tf.saved_model.load(str(path / "saved_model"))
    bench.outside.touched()
    loaded.serve(tf.zeros((1, 4, 4, 1), tf.uint8))
    assert bench.outside.touched()[kind] > 0
    bench.outside.planted.unlink(missing_ok=True)


@pytest.mark.parametrize("name", LOADED[:2])
def test_a_model_that_asks_for_more_than_there_is_ends_the_look_at_it_and_nothing_else(
    bench: Bench, name: str, tmp_path: Path
):
    hostile = find(name)
    path = make(hostile, bench, tmp_path / "artifact")
    code = (
        "import os, sys; pid = os.posix_spawn(sys.executable, [sys.executable, '-m', 'railcar.artifact.sandbox', "
        f"{str(path)!r}, '{foreign.MEMORY_MB}'], os.environ); _, status, used = os.wait4(pid, 0); "
        "print(status, used.ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    answer, last = done.stdout.splitlines()
    status, peak_kb = map(int, last.split())
    assert status == 0 and hostile.told in json.loads(answer)["what"]
    assert peak_kb < (foreign.MEMORY_MB + 1024) * 1024


def test_without_trust_none_of_them_is_looked_at(bench: Bench, tmp_path: Path):
    for number, hostile in enumerate(ALL):
        if hostile is OUTSIDE_NAMES or not hostile.name.startswith("serve"):
            path = make(hostile, bench, tmp_path / str(number))
            began = time.monotonic()
            with pytest.raises(ForeignArtifact, match="was not made by you on this machine"):
                read_artifact(path)
            assert time.monotonic() - began < 0.5
    assert bench.outside.touched()["connections"] == 0


def test_a_checksum_of_a_file_outside_is_not_computed(bench: Bench, tmp_path: Path):
    path = make(OUTSIDE_NAMES, bench, tmp_path / "artifact")
    bench.outside.touched()
    with pytest.raises(ArtifactError, match="is no name of a file in it"):
        read_artifact(path, trust=True)
    assert bench.outside.touched() == NOTHING


@pytest.mark.parametrize("name", ["keras", "graph"])
def test_a_sound_artifact_of_somebody_else_is_read_when_it_is_trusted(bench: Bench, name: str, tmp_path: Path):
    path = tmp_path / "artifact"
    shutil.copytree(getattr(bench, name), path)
    seal(path)
    with pytest.raises(ForeignArtifact):
        railcar.load(artifact=path)
    found = railcar.load(artifact=path, trust=True)
    assert not found.artifact.is_own
    assert found.predict_probabilities(np.zeros((1, 4, 4, 1), np.uint8)).shape == (1, 2)


def test_ones_own_is_read_in_no_time_and_by_no_other_process(bench: Bench):
    began = time.perf_counter()
    for _ in range(10):
        assert read_artifact(bench.keras).is_own
    assert (time.perf_counter() - began) / 10 < 0.05


def test_a_whole_model_as_h5_is_refused(tmp_path: Path):
    (tmp_path / "model.h5").touch()
    with pytest.raises(ForeignArtifact, match=r"a whole model as \.h5 can hold code"):
        check_keras_file(tmp_path / "model.h5")


def test_the_lists_are_what_railcar_and_tensorflow_have(bench: Bench):
    from keras.src.saving.object_registration import GLOBAL_CUSTOM_OBJECTS
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    import railcar.layers.all  # noqa: F401

    assert {name for name in GLOBAL_CUSTOM_OBJECTS if name.startswith("railcar>")} == keras_file.OWN
    known: Any = op_def_pb2.OpList()  # pyright: ignore[reportAttributeAccessIssue]
    known.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    assert set() == operations.PURE - {one.name for one in known.op}
    files = (
        "File",
        "Reader",
        "Dataset",
        "Summary",
        "Print",
        "PyFunc",
        "Rpc",
        "Send",
        "Recv",
        "Queue",
        "Proto",
        "Debug",
    )
    assert [name for name in operations.PURE if any(word in name for word in files)] == []


def test_who_looks_at_it_knows_no_secrets_and_reaches_no_network(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    given = foreign._environment("/nowhere")
    assert "secret" not in given.values() and given["HOME"] == "/nowhere" and "RAILCAR_KEY_FILE" not in given
    host = bench.outside.url.split("/")[2]
    code = (
        "import os, socket; from railcar.artifact.sandbox import leave_network; before = os.stat('/proc/self/ns/net');"
        "leave_network(); print(before != os.stat('/proc/self/ns/net'), flush=True);"
        f"socket.create_connection(('127.0.0.1', {host.split(':')[1]}), 2)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **given})
    if done.stdout.strip() != "True":
        pytest.skip("this system lets no process leave the network")
    assert done.returncode != 0 and bench.outside.touched()["connections"] == 0

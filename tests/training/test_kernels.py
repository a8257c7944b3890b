from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import pytest

from railcar.layers.tuned import TunedConv2D, TunedDense
from railcar.storage.local import cache_dir
from railcar.training import kernels
from railcar.training.kernels import choose_kernels, set_kernels


def _build_model() -> keras.Model:
    images = keras.Input((8, 8, 2))
    hidden = TunedConv2D(4, 3, padding="same", name="first")(images)
    hidden = TunedConv2D(4, 3, padding="same", name="second")(hidden)
    return keras.Model(images, TunedDense(3, name="dense")(keras.layers.Flatten()(hidden)))


def _choose(model: keras.Model, **options: Any) -> Any:
    return choose_kernels(model, **{"asked": "auto", "device": "cpu", "compile": "graph", "n_rows": 4, **options})


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path))


def _say(forward_ms: float) -> None:
    """Rewrite what is remembered: each of TensorFlow's kernels took 10 ms, and each forward kernel so long."""
    path = cache_dir() / "kernels.json"
    document = json.loads(path.read_text())
    for times in document.values():
        for key in times:
            times[key] = [10.0, forward_ms]
    path.write_text(json.dumps(document))


def test_each_gradient_that_is_computed_is_timed_once_and_remembered():
    model = _build_model()
    _choose(model)
    path = cache_dir() / "kernels.json"
    [times] = json.loads(path.read_text()).values()
    # the first layer's input is an image: nobody asks for its gradient
    assert [key.rpartition(" ")[2] for key in times] == ["kernel", "input", "kernel", "input"]
    assert all(len(pair) == 2 and min(pair) > 0 for pair in times.values())
    before = path.stat().st_mtime_ns
    _choose(model)
    assert path.stat().st_mtime_ns == before


def test_the_faster_kernels_are_taken_and_the_reason_says_how_much_faster():
    model = _build_model()
    _choose(model)
    _say(5.0)
    choice = _choose(model)
    assert choice.value == {"first": ["kernel"], "second": ["input", "kernel"], "dense": ["input"]}
    assert "2.0 times as fast" in choice.reason
    _say(9.5)
    assert _choose(model).value == {}


def test_layers_compute_as_they_are_told():
    model = _build_model()
    set_kernels(model, {"second": ["input"]})
    assert [model.get_layer(name).forward_gradients for name in ("first", "second")] == [frozenset(), {"input"}]
    set_kernels(model, {})
    assert not model.get_layer("second").forward_gradients


def test_a_run_that_goes_on_keeps_its_kernels_and_measures_nothing():
    assert _choose(_build_model(), known={"dense": ["input"]}).value == {"dense": ["input"]}
    assert not (cache_dir() / "kernels.json").exists()


@pytest.mark.parametrize("options", [{"asked": "own"}, {"device": "gpu"}, {"compile": "xla"}, {"compile": "eager"}])
def test_there_is_nothing_to_choose(options: dict[str, str]):
    assert _choose(_build_model(), **options) is None
    assert not (cache_dir() / "kernels.json").exists()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"a": 3}', b"\xff"])
def test_a_cache_that_is_no_such_file_is_written_anew(content: bytes):
    path = cache_dir() / "kernels.json"
    path.write_bytes(content)
    _choose(_build_model())
    assert len(json.loads(path.read_text())) == 1


@pytest.mark.parametrize("times", [3, [1], ["a", "b"], [None, None], [10, 0], [[1], [2]], [float("nan"), 1.0]])
def test_what_is_remembered_and_is_no_pair_of_times_is_measured_again(times: Any):
    model = _build_model()
    _choose(model)
    path = cache_dir() / "kernels.json"
    [(machine, found)] = json.loads(path.read_text()).items()
    path.write_text(json.dumps({machine: dict.fromkeys(found, times)}))
    _choose(model)
    assert all(min(pair) > 0 for pair in json.loads(path.read_text())[machine].values())


def test_what_another_process_remembers_meanwhile_is_kept(monkeypatch: pytest.MonkeyPatch):
    path = cache_dir() / "kernels.json"
    time_gradient = kernels._time_gradient

    def measure_beside_another(*arguments: Any) -> tuple[float, float]:
        found = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(found | {"another machine": {"a shape": [2.0, 1.0]}}))
        return time_gradient(*arguments)

    monkeypatch.setattr(kernels, "_time_gradient", measure_beside_another)
    _choose(_build_model())
    found = json.loads(path.read_text())
    assert found.pop("another machine") == {"a shape": [2.0, 1.0]}
    assert [len(times) for times in found.values()] == [4]


def test_other_kernels_of_onednn_are_measured_apart(monkeypatch: pytest.MonkeyPatch):
    _choose(_build_model())
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    _choose(_build_model())
    plain, limited = json.loads((cache_dir() / "kernels.json").read_text())
    assert limited == f"{plain}, ONEDNN_MAX_CPU_ISA=AVX2"


def test_of_a_large_batch_no_more_is_timed_than_tells_and_the_memory_says_how_much(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "_FLOP_OF_A_TRIAL", 50_000.0)
    _choose(_build_model(), n_rows=1000)
    [times] = json.loads((cache_dir() / "kernels.json").read_text()).values()
    # a row of the second convolution is 2 * 3*3*4*4 * 8*8 operations, one of the dense layer 2 * 256*3
    assert {key.split("x")[0] for key in times} == {
        "convolution same float32 5", "convolution same float32 2", "dense float32 32",
    }  # fmt: skip

"""How TensorFlow is started: the memory that it may keep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from railcar.training import tensorflow
from railcar.training.tensorflow import memory_settings, quiet_stderr
from tests.synthetic import write_image_folder


@pytest.mark.parametrize(("total", "limit", "mb"), [(10.0, None, 9216), (10.0, 5.0, 4608), (None, 1.0, 921)])
def test_nine_tenths_of_what_there_is_are_shared_by_the_processes(
    monkeypatch: pytest.MonkeyPatch, total: float | None, limit: float | None, mb: int
):
    monkeypatch.setattr(
        tensorflow, "describe_memory", lambda: {"total_gb": total, "limit_gb": limit, "available_gb": None}
    )
    assert memory_settings()["TF_CPU_BFC_MEM_LIMIT_IN_MB"] == str(mb)
    assert memory_settings(3)["TF_CPU_BFC_MEM_LIMIT_IN_MB"] == str(mb // 3)


def test_where_the_size_of_memory_is_unknown_nothing_is_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tensorflow, "describe_memory", lambda: dict.fromkeys(("total_gb", "limit_gb", "available_gb")))
    assert memory_settings() == {}


def _railcar(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "railcar", *arguments]
    known = {**os.environ, "RAILCAR_RUNS": str(cwd / "runs"), **environment}
    return subprocess.run(command, cwd=cwd, env=known, capture_output=True, text=True, timeout=300, check=False)


def test_too_little_memory_is_said_in_words_when_training_and_when_predicting(tmp_path: Path):
    images = write_image_folder(tmp_path / "images", side=64)
    sets = ["model.filters=[16]", "training.steps=2", "training.batch_size=16", "training.tensorboard=false"]
    options = [word for one in sets for word in ("--set", one)]
    done = _railcar("train", str(images), *options, cwd=tmp_path, TF_CPU_BFC_MEM_LIMIT_IN_MB="8")
    assert done.returncode == 1
    assert "out of memory" in done.stderr
    assert "Traceback" not in done.stderr

    # The images alone are too large here: where oneDNN's own buffers do not fit, it ends the process.
    large = write_image_folder(tmp_path / "large", side=512)
    sets = ["data.image_size=[512, 512]", "model.filters=[4]", "model.strides=4", "training.steps=1"]
    options = [
        word
        for one in [*sets, "model.global_pool=average", "training.batch_size=4", "training.tensorboard=false"]
        for word in ("--set", one)
    ]
    assert _railcar("train", str(large), *options, "--name", "fits", cwd=tmp_path).returncode == 0
    many = [str(path) for path in sorted(large.rglob("*.png"))]
    done = _railcar("predict", *many, "--run", "fits", cwd=tmp_path, TF_CPU_BFC_MEM_LIMIT_IN_MB="4")
    assert done.returncode == 1
    assert "out of memory" in done.stderr
    assert "Traceback" not in done.stderr


def test_stderr_comes_back_when_the_last_of_several_threads_has_left(capfd: pytest.CaptureFixture[str]):
    reading, importing = quiet_stderr(), quiet_stderr()
    reading.__enter__()
    importing.__enter__()
    reading.__exit__(None, None, None)
    os.write(2, b"chatter\n")
    importing.__exit__(None, None, None)
    os.write(2, b"an error\n")

    assert capfd.readouterr().err == "an error\n"


_IMPORT = """
import sys
from railcar.training.tensorflow import import_tensorflow
import_tensorflow()
from keras.src.trainers.data_adapters import array_slicing
from keras.src.wrappers import sklearn_wrapper
print(array_slicing.pandas is None, "matplotlib.pyplot" in sys.modules, "sklearn" in sys.modules)
import pandas, sklearn.base, matplotlib.pyplot
print(pandas.DataFrame({"a": [1]}).shape)
"""


@pytest.mark.parametrize("is_command", [True, False])
def test_a_command_spares_itself_what_keras_imports_for_others_and_a_users_python_gets_all(is_command: bool):
    environment = {name: value for name, value in os.environ.items() if name != "RAILCAR_COMMAND"}
    environment |= {"RAILCAR_COMMAND": "1"} if is_command else {}
    done = subprocess.run([sys.executable, "-c", _IMPORT], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    expected = "True False False" if is_command else "False True True"
    assert done.stdout.splitlines() == [expected, "(1, 1)"]

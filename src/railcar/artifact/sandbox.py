"""`python -m railcar.artifact.sandbox FOLDER MEGABYTES`: load an artifact that somebody else made where it does no
harm, and say in one line of JSON what is wrong with it: {"what": ...}, or {} for nothing.

Run by `foreign.py`, in a process of its own. In this order: the network is taken away, where the system lets us; what
the model is made of is read; TensorFlow is imported; writing files is forbidden and the memory limited; the network's
size is compared with the weights that are stored, before it is built; it is loaded; it answers its samples.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

from railcar.artifact.artifact import Artifact, read_unsigned
from railcar.artifact.graphs import check_saved_model
from railcar.artifact.keras_file import check_keras_file
from railcar.artifact.saved_model import FOLDER
from railcar.errors import ForeignArtifact, RailcarError

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_MOST_SAMPLES = 64
# Numbers that a network has and its file need not: seeds of dropout.
_SLACK = 1024


def main() -> int:
    """Exit status 0 whatever was found; another one says that the process did not come to its end."""
    folder, megabytes = Path(sys.argv[1]), int(sys.argv[2])
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    leave_network()
    try:
        check(folder, megabytes << 20)
        found: dict[str, str] = {}
    except RailcarError as error:
        found = {"what": error.what, "hint": error.hint}
    except MemoryError:
        found = {"what": f"it needs more than {megabytes:,} MB of memory"}
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        what = f"it cannot be loaded: {type(error).__name__}: {lines[0][:300]}"
        if type(error).__name__ == "ResourceExhaustedError":
            what = f"it needs more than {megabytes:,} MB of memory"
        found = {"what": what}
    answer.write(json.dumps(found) + "\n")
    answer.flush()
    os._exit(0)  # what a model has left behind is not run


def check(folder: Path, n_bytes: int) -> None:
    """Raise for whatever keeps the artifact in `folder` from being loaded; `n_bytes` of memory may be taken for it."""
    artifact = read_unsigned(folder)
    is_graph = (folder / FOLDER).is_dir()
    config, n_stored = ({}, 0) if is_graph else check_keras_file(folder / "model.keras")
    import tensorflow as tf  # noqa: F401

    import railcar.layers.all  # noqa: F401

    limit(n_bytes)
    if is_graph:
        check_saved_model(folder / FOLDER)
    else:
        check_size(config, n_stored)
    if (folder / "encoding.json").is_file():
        _ = artifact.encoding
    ask(artifact, artifact.load_model())


def check_size(config: dict[str, Any], n_stored: int) -> None:
    """Raise `ForeignArtifact` where the network of that configuration has more numbers than are stored. None of its
    variables takes memory here."""
    import keras
    from keras.src.backend.common import global_state

    with keras.StatelessScope():  # variables that are made here wait for their values
        model: Any = keras.saving.deserialize_keras_object({**config, "compile_config": None}, safe_mode=True)
        n_asked = sum(prod(one.shape) for one in model.variables)
        global_state.set_global_attribute("uninitialized_variables", [])
    if n_asked > n_stored + _SLACK:
        raise ForeignArtifact(f"its network has {n_asked:,} numbers, and {n_stored:,} are stored with it")


def ask(artifact: Artifact, model: Any) -> None:
    """Let the model answer its samples, as a predictor does."""
    import tensorflow as tf

    inputs, expected = artifact.samples()
    if not 0 < len(inputs) <= _MOST_SAMPLES or len(expected) != len(inputs):
        raise ForeignArtifact(f"it has {len(inputs)} samples and {len(expected)} answers to them")
    if artifact.kind == "image":
        given: Any = tf.constant(inputs)
    else:
        from railcar.layers.tables import name_inputs
        from railcar.storage.frames import to_arrays

        arrays = to_arrays(inputs, inputs.columns)
        tensors = {
            name: tf.constant(values, tf.string if values.dtype == object else tf.float32)
            for name, values in arrays.items()
        }
        keys = name_inputs(inputs.columns)
        given = tensors["text"] if artifact.kind == "text" else {keys[name]: one for name, one in tensors.items()}
    model(given, training=False)


def leave_network() -> None:
    """Go where no network is, if this system lets us. Before any thread is started."""
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        unshare = ctypes.CDLL(None, use_errno=True).unshare
        if unshare(_NEW_NETWORK) != 0:  # root may; others in a user namespace
            unshare(_NEW_USER | _NEW_NETWORK)


def limit(n_bytes: int) -> None:
    """No file may be written from here on, and no more than `n_bytes` be added to the memory that is taken."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if (taken := _taken()) is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (taken + n_bytes, taken + n_bytes))


def _taken() -> int | None:
    """Bytes of private memory that this process may write to, as RLIMIT_DATA counts them."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return None


if __name__ == "__main__":
    sys.exit(main())

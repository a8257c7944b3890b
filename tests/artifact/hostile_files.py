"""Model files that somebody has made to do harm: the artifacts of row 24, and what must be said of each.

Each is made from a sound artifact by a change of its files; checksums are then made to fit, as whoever does such a
thing would, and it is signed by nobody.
"""

from __future__ import annotations

import base64
import json
import marshal
import os
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from tests.artifact.hostile_graphs import GRAPHS
from tests.artifact.workshop import Bench, Hostile, Make, Outside, seal

GIGABYTE = 1 << 30


# ---- what .keras files are made of


def edit_keras(
    folder: Path,
    *,
    config: Callable[[dict[str, Any]], object] = lambda config: None,
    weights: Callable[[bytes], bytes] = lambda content: content,
    members: Callable[[zipfile.ZipFile], object] = lambda archive: None,
    packed: bool = False,
) -> None:
    """Write model.keras anew, with its configuration, weights or members changed."""
    path = folder / "model.keras"
    with zipfile.ZipFile(path) as archive:
        about = json.loads(archive.read("config.json"))
        content = weights(archive.read("model.weights.h5"))
    text = config(about)
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", text if isinstance(text, str) else json.dumps(about))
        archive.writestr("model.weights.h5", content)
        members(archive)


def layer(module: str | None, name: str, config: Any, registered: str | None = None, **more: Any) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": registered, **more}


def with_layer(make: Callable[[Outside], dict[str, Any]]) -> Make:
    """That layer before the last one."""

    def write(bench: Bench, folder: Path) -> None:
        edit_keras(folder, config=lambda about: about["config"]["layers"].insert(1, make(bench.outside)))

    return write


def with_config(change: Callable[[dict[str, Any], Outside], object]) -> Make:
    return lambda bench, folder: edit_keras(folder, config=lambda about: change(about, bench.outside))


def lambda_layer(outside: Outside) -> dict[str, Any]:
    """Python code that writes a file, as Keras stores it."""
    code = compile(f"lambda x: open({str(outside.planted)!r}, 'w') and x", "", "eval").co_consts[0]
    value = {"code": base64.b64encode(marshal.dumps(code)).decode(), "defaults": None, "closure": None}
    function = {"class_name": "__lambda__", "config": {"value": value}}
    return layer("keras.layers", "Lambda", {"name": "innocent", "function": function, "arguments": {}})


def unknown(module: str | None, name: str, /, **config: Any) -> Callable[[Outside], dict[str, Any]]:
    return lambda outside: layer(module, name, {"name": "innocent", **config})


def large_dense(about: dict[str, Any], outside: Outside) -> None:
    """8 GB of float32."""
    units = 8 * GIGABYTE // 4 // 16
    about["config"]["layers"][-1]["config"]["units"] = units
    about["config"]["layers"][-1].pop("build_config", None)
    about.pop("build_config", None)


def large_picture(about: dict[str, Any], outside: Outside) -> None:
    """No weights, and 400 GB of activations."""
    more = layer("keras.layers", "UpSampling2D", {"name": "innocent", "size": [50_000, 50_000]})
    less = layer("keras.layers", "GlobalMaxPooling2D", {"name": "smaller", "keepdims": True})
    again = layer("keras.layers", "UpSampling2D", {"name": "again", "size": [4, 4]})
    about["config"]["layers"][1:1] = [more, less, again]
    about.pop("build_config", None)


# ---- what HDF5 files are made of


def with_weights(change: Callable[[Any, Outside], object]) -> Make:
    """The weights changed by `change(file, outside)`."""

    def write(bench: Bench, folder: Path) -> None:
        def rewrite(content: bytes) -> bytes:
            import h5py

            buffer = BytesIO(content)
            with h5py.File(buffer, "r+") as file:
                change(file, bench.outside)
            return buffer.getvalue()

        edit_keras(folder, weights=rewrite)

    return write


def link_outside(file: Any, outside: Outside) -> None:
    import h5py

    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.ExternalLink(str(outside.secret), "/weights")


def store_outside(file: Any, outside: Outside) -> None:
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", (16, 2), "f4", external=[(str(outside.secret), 0, 128)])


def look_outside(file: Any, outside: Outside) -> None:
    import h5py

    layout = h5py.VirtualLayout((16, 2), "f4")
    layout[:] = h5py.VirtualSource(str(outside.secret), "weights", (16, 2))
    del file["layers/dense/vars/0"]
    file.create_virtual_dataset("layers/dense/vars/0", layout)


def soft_link(file: Any, outside: Outside) -> None:
    import h5py

    file["layers/more"] = h5py.SoftLink("/layers")


def promise_numbers(file: Any, outside: Outside) -> None:
    file.create_dataset("layers/more", (1 << 40,), "f4", chunks=(1 << 20,))


# ---- what else an artifact is made of


def link_sample(bench: Bench, folder: Path) -> None:
    (folder / "samples" / "inputs.npy").unlink()
    (folder / "samples" / "inputs.npy").symlink_to(bench.outside.secret)


def name_outside(bench: Bench, folder: Path) -> None:
    path = folder / "artifact.json"
    manifest = json.loads(path.read_bytes())
    manifest["checksums"][f"../../{bench.outside.secret}"] = "0"
    path.write_text(json.dumps(manifest))


class Planting:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


def pickle_samples(bench: Bench, folder: Path) -> None:
    np.save(folder / "samples" / "expected.npy", np.array([Planting(bench.outside.planted)], object), allow_pickle=True)
    (folder / "samples" / "more.pkl").write_bytes(pickle.dumps(Planting(bench.outside.planted)))


def promise_samples(bench: Bench, folder: Path) -> None:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 4, 4, 1)})
    (folder / "samples" / "inputs.npy").write_bytes(header.getvalue())


def replaced(content: bytes) -> Make:
    return lambda bench, folder: (folder / "model.keras").write_bytes(content)


def with_member(name: str, content: bytes = b"planted", mode: int = 0o644) -> Make:
    def add(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content)

    return lambda bench, folder: edit_keras(folder, members=add)


def twice(bench: Bench, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile says so
        edit_keras(folder, members=lambda archive: archive.writestr("config.json", "{}"))


UNKNOWN = "which is not on the list of what only computes"
KERAS_FILES = (
    Hostile("a Lambda that writes a file", f"a keras.layers.Lambda, {UNKNOWN}", with_layer(lambda_layer)),
    Hostile("a Lambda in a wrapper", "a keras.layers.Lambda", with_layer(
        lambda outside: layer("keras.layers", "TimeDistributed", {"name": "outer", "layer": lambda_layer(outside)}))),
    Hostile("a Lambda as activation", "__lambda__", with_config(
        lambda about, outside: about["config"]["layers"][-1]["config"].update(
            activation=lambda_layer(outside)["config"]["function"]))),
    Hostile("a Lambda in what it was compiled with", "a keras.layers.Lambda", with_config(
        lambda about, outside: about.update(compile_config={"optimizer": lambda_layer(outside)}))),
    Hostile("a TFSMLayer", f"a keras.layers.TFSMLayer, {UNKNOWN}", with_layer(
        lambda outside: layer("keras.layers", "TFSMLayer", {"name": "innocent", "filepath": outside.folder}))),
    Hostile("a TorchModuleWrapper", "a keras.layers.TorchModuleWrapper", with_layer(
        unknown("keras.layers", "TorchModuleWrapper", module="gASV"))),
    Hostile("a layer of a foreign package", "a evil.layers.Dense", with_layer(unknown("evil.layers", "Dense"))),
    Hostile("a layer registered by a foreign package", "a keras.layers.Dense", with_layer(
        lambda outside: layer("keras.layers", "Dense", {"name": "innocent", "units": 16}, "evil>Dense"))),
    Hostile("a layer of keras_hub", "a keras_hub.models.Backbone", with_layer(unknown("keras_hub.models", "Backbone"))),
    Hostile("keras.utils.get_file", "a keras.utils.get_file", with_layer(
        lambda outside: layer("keras.utils", "get_file", {"origin": outside.url}))),
    Hostile("a model that loads another", "a keras.models.load_model", with_layer(
        lambda outside: layer("keras.models", "load_model", {"filepath": str(outside.secret)}))),
    Hostile("os.system", "has a function: 'system'", with_config(
        lambda about, outside: about["config"]["layers"][-1]["config"].update(
            activation=layer("os", "function", "system", "system")))),
    Hostile("a type's specification", "__typespec__", with_layer(
        lambda outside: {"class_name": "__typespec__", "spec_name": "evil", "config": [], "registered_name": "evil"})),
    Hostile("a vocabulary in a file", "would read the file", with_layer(
        lambda outside: layer("keras.layers", "StringLookup", {"name": "a", "vocabulary": str(outside.secret)}))),
    Hostile("texts with a vocabulary in a file", "would read the file", with_layer(
        lambda outside: layer(
            "keras.layers", "TextVectorization", {"name": "innocent", "vocabulary": f"file://{outside.secret}"}))),
    Hostile("8 GB in a Dense of 1 kB", "numbers, and 34 are stored with it", with_config(large_dense)),
    Hostile("400 GB of activations", "MB of memory", with_config(large_picture)),
    Hostile("a configuration of 1 GB in 1 MB", "would unpack to", lambda bench, folder: edit_keras(
        folder, config=lambda about: " " * (256 << 20) + json.dumps(about), packed=True)),
    Hostile("weights of 256 MB in 0.3 MB", "would unpack to", lambda bench, folder: edit_keras(
        folder, weights=lambda content: content + b"\0" * (256 << 20), packed=True)),
    Hostile("a member that leads out", "it holds '../planted.txt'", with_member("../planted.txt")),
    Hostile("a member with an absolute name", "it holds '/tmp/planted.txt'", with_member("/tmp/planted.txt")),
    Hostile("a member that is an asset", "it holds 'assets/a'", with_member("assets/a")),
    Hostile("weights as .npz", "it holds 'model.weights.npz'", with_member("model.weights.npz")),
    Hostile("a member twice", "a member twice", twice),
    Hostile("no zip", "no whole .keras file", replaced(b"\x89HDF\r\n\x1a\n" + bytes(2000))),
    Hostile("100,000 lists in one another", "its configuration is no JSON", lambda bench, folder: edit_keras(
        folder, config=lambda about: "[" * 100_000)),
    Hostile("weights that link to another file", "lead elsewhere", with_weights(link_outside)),
    Hostile("weights stored in another file", "to another file", with_weights(store_outside)),
    Hostile("weights that show another file", "to another file", with_weights(look_outside)),
    Hostile("weights with a link within", "lead elsewhere", with_weights(soft_link)),
    Hostile("weights that promise 4 TB", "promise", with_weights(promise_numbers)),
    Hostile("a sample that is a link", "is a link", link_sample),
    Hostile("samples that are pickles", "ValueError", pickle_samples),
    Hostile("samples that promise 16 TB", "memory", promise_samples),
)  # fmt: skip
OUTSIDE_NAMES = Hostile("a checksum of a file outside", "is no name of a file in it", name_outside)
ALL = (*KERAS_FILES, *GRAPHS, OUTSIDE_NAMES)


def make(hostile: Hostile, bench: Bench, folder: Path) -> Path:
    """The hostile artifact, in `folder`."""
    shutil.copytree(bench.graph if hostile.is_graph else bench.keras, folder)
    hostile.make(bench, folder)
    if hostile is not OUTSIDE_NAMES:
        seal(folder)
    else:
        path = folder / "artifact.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "hmac": "0" * 64}))
    return folder

"""Where hostile artifacts are made: sound ones to begin with, and what lies outside of them, watched."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from railcar.artifact.artifact import write_artifact
from railcar.storage.local import hash_file

_OPEN, _ACCESS, _MODIFY, _CREATE, _DELETE = 0x20, 0x1, 0x2, 0x100, 0x200


class Outside:
    """What lies outside: a folder with a secret, watched, and a server. `touched` says what was done to them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = str(folder)
        self.secret, self.planted = folder / "secret.txt", folder / "planted.txt"
        self.secret.write_text("a secret\n")
        libc = ctypes.CDLL(None, use_errno=True)
        self._watch = libc.inotify_init1(os.O_NONBLOCK)
        libc.inotify_add_watch(self._watch, os.fsencode(folder), _OPEN | _ACCESS | _MODIFY | _CREATE | _DELETE)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/model"
        self._n_connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self._n_connections += 1
                connection.close()

    def touched(self) -> dict[str, int]:
        """Reads, writes and connections since the last call."""
        found = {"reads": 0, "writes": 0, "connections": self._n_connections}
        self._n_connections = 0
        with suppress(BlockingIOError):
            while events := os.read(self._watch, 1 << 16):
                while events:
                    _, mask, _, length = struct.unpack_from("iIII", events)
                    found["writes" if mask & (_MODIFY | _CREATE | _DELETE) else "reads"] += 1
                    events = events[16 + length :]
        return found

    def close(self) -> None:
        os.close(self._watch)
        self._server.close()


@dataclass
class Bench:
    """Where hostile artifacts are made: from `keras`, a sound one, and `graph`, a sound one with a SavedModel."""

    keras: Path
    graph: Path
    outside: Outside


Make = Callable[[Bench, Path], object]


@dataclass(frozen=True)
class Hostile:
    """`told` is in what is said of it."""

    name: str
    told: str
    make: Make
    is_graph: bool = False


def write_sound(folder: Path) -> Path:
    """An artifact that does no harm, of images of 4x4 pixels."""
    import keras

    model: Any = keras.Sequential(
        [keras.Input((4, 4, 1), dtype="uint8"), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    )
    model.add(keras.layers.Dense(2))
    return _write(folder, model, None)


def write_sound_graph(folder: Path) -> Path:
    """The same, as a SavedModel."""
    import keras

    images: Any = keras.Input((4, 4, 1), dtype="uint8")
    hidden = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    return _write(folder, keras.Model(images, keras.layers.Dense(2)(hidden)), (None,))


def _write(folder: Path, model: Any, own: tuple[Any | None] | None) -> Path:
    import tensorflow as tf

    about = {
        "kind": "image",
        "task": "classification",
        "class_names": ["a", "b"],
        "features": {"image_shape": [4, 4, 1]},
    }
    images = np.zeros((2, 4, 4, 1), np.uint8)
    expected = tf.nn.softmax(model(images)).numpy()
    write_artifact(folder, model, about=about, samples=(images, expected), facts={}, own=own)
    return folder


def seal(folder: Path) -> None:
    """Let the checksums fit the files, as whoever made them would."""
    path = folder / "artifact.json"
    manifest = json.loads(path.read_bytes())
    names = [one for one in folder.rglob("*") if one.is_file() and one != path]
    manifest["checksums"] = {one.relative_to(folder).as_posix(): hash_file(one) for one in names}
    path.write_text(json.dumps({**manifest, "hmac": "0" * 64}))

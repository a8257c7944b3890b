"""An artifact on disk: model, class names, feature spec, samples with their expected output, and a manifest.

    model.keras       takes decoded images (uint8, any size), gives logits; preprocessing is part of it
    artifact.json     format, kind, class names, feature spec, metrics, fingerprint, checksum of each file
    signature.json    input and output: names, shapes, dtypes
    samples/          twenty examples as inputs.npy and the probabilities expected of them, expected.npy

Written into a hidden folder and renamed. Reading verifies the checksums and the format before anything is loaded.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.errors import ArtifactError, NotFound
from railcar.storage.local import explain_output_errors, hash_file

FORMAT = 1


@dataclass(frozen=True)
class Artifact:
    """A verified artifact. `image_shape` is (height, width, channels) inside the network."""

    path: Path
    kind: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    manifest: dict[str, Any]

    def load_model(self) -> Any:
        """The keras.Model, uncompiled. Raises `ArtifactError` when Keras cannot read it."""
        import keras

        import railcar.layers.activation
        import railcar.layers.identity
        import railcar.layers.images
        import railcar.layers.norm
        import railcar.layers.pooling
        import railcar.layers.tuned
        import railcar.layers.whiten  # all of them register layers of ours  # noqa: F401

        try:
            return keras.models.load_model(self.path / "model.keras", compile=False, safe_mode=True)
        except (ValueError, TypeError, OSError) as error:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise ArtifactError(
                f"{self.path / 'model.keras'}: Keras cannot load it: {reason}",
                hint="make it anew with the railcar version that is installed: railcar train",
            ) from error

    def samples(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """(images uint8 [n, height, width, channels], expected probabilities float32 [n, n_classes])."""
        folder = self.path / "samples"
        return np.load(folder / "inputs.npy"), np.load(folder / "expected.npy")


def write_artifact(
    path: Path,
    model: Any,
    *,
    kind: str,
    class_names: tuple[str, ...],
    image_shape: tuple[int, int, int],
    samples: tuple[NDArray[np.uint8], NDArray[np.float32]],
    facts: dict[str, Any],
) -> Artifact:
    """Write `path` anew, replacing an older one. `samples` are images and their probabilities; `facts` (metrics, run,
    checkpoint, data fingerprint, versions) go into artifact.json as they are."""
    partial = path.with_name(f".partial-{path.name}")
    with explain_output_errors(path), ExitStack() as stack:
        stack.callback(shutil.rmtree, partial, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "samples").mkdir(parents=True)
        model.save(partial / "model.keras")
        np.save(partial / "samples" / "inputs.npy", samples[0])
        np.save(partial / "samples" / "expected.npy", samples[1])
        (partial / "signature.json").write_text(json.dumps(_signature(image_shape, class_names), indent=1) + "\n")
        manifest = {
            "format": FORMAT,
            "kind": kind,
            "class_names": list(class_names),
            "features": {"image_shape": list(image_shape)},
            **facts,
            "checksums": {name: hash_file(partial / name) for name in _files(partial)},
        }
        (partial / "artifact.json").write_text(json.dumps(manifest, indent=1) + "\n")
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    return read_artifact(path)


def read_artifact(path: Path) -> Artifact:
    """Verify format and checksums. Raises `NotFound` when there is none and `ArtifactError` when it is damaged."""
    manifest_path = path / "artifact.json"
    if not manifest_path.is_file():
        raise NotFound(f"{path}: no artifact is there", hint="a finished run has one; train with: railcar train")
    try:
        manifest = json.loads(manifest_path.read_bytes())
        if manifest["format"] > FORMAT:
            raise ArtifactError(
                f"{manifest_path}: format {manifest['format']} is newer than this railcar knows ({FORMAT})",
                hint='upgrade with: pip install --upgrade "railcar[cpu]"',
            )
        for name, checksum in manifest["checksums"].items():
            if hash_file(path / name) != checksum:
                raise ArtifactError(
                    f"{path / name}: the checksum does not match artifact.json; the file was changed or damaged",
                    hint="make it anew with: railcar evaluate RUN",
                )
        height, width, channels = manifest["features"]["image_shape"]
        return Artifact(path, manifest["kind"], tuple(manifest["class_names"]), (height, width, channels), manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{manifest_path}: the artifact is damaged: {error}", hint="restore it from a copy, or train again"
        ) from error


def _signature(image_shape: tuple[int, int, int], class_names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "inputs": {"image": {"dtype": "uint8", "shape": [None, None, None, image_shape[2]], "range": [0, 255]}},
        "outputs": {"logits": {"dtype": "float32", "shape": [None, len(class_names)]}},
    }


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

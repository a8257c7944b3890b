"""An artifact on disk: model, class names, feature spec, samples with their expected output, and a manifest.

    model.keras       takes decoded input (uint8 images of any size, strings, columns), gives logits, or of a
                      regression numbers in the targets' unit; preprocessing is part of it
    saved_model/      in place of that, the same of a network whose code only its user has
    artifact.json     format, kind, task, class names, feature spec, metrics, fingerprint, checksum of each file; signed
    encoding.json     of texts and rows: how raw ones become what the network takes; of a regression with `target`
    signature.json    input and output: names, shapes, dtypes
    samples/          twenty examples, inputs.npy (images) or inputs.parquet, and what is expected of them,
                      expected.npy: probabilities, or the numbers of a regression

Written into a hidden folder and renamed, and signed with the user's key (`signing.py`). Reading verifies the format,
the signature and the checksums before anything is loaded; what somebody else has made is read only where it is trusted,
and looked at first (`foreign.py`).
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from railcar.artifact import signing
from railcar.artifact.saved_model import FOLDER, SavedNetwork, write_saved_model
from railcar.errors import ArtifactError, ForeignArtifact, NotFound
from railcar.storage.columns import Column
from railcar.storage.local import explain_output_errors, hash_file

FORMAT = 1
_MOST_BYTES = 64 << 20
# What file managers leave in a folder.
_STRAYS = ("Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Artifact:
    """A verified artifact. `columns` are those of a table, with their types; `encoding` names them again, with what the
    model knows of each. `is_own` says that this user made it on this computer; `note` is a line about the user's key,
    where there is something to say of it."""

    path: Path
    kind: str
    task: str
    class_names: tuple[str, ...]
    features: dict[str, Any]
    manifest: dict[str, Any]
    is_own: bool = True
    note: str = ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of images: (height, width, channels) inside the network."""
        height, width, channels = self.features["image_shape"]
        return height, width, channels

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of tables: what each column is."""
        return tuple(Column(one["name"], one["type"], form=one["form"]) for one in self.features["columns"])

    @property
    def encoding(self) -> dict[str, Any]:
        """Of texts and rows: how raw ones become what the network takes. Of a regression it has `target`, mean and
        deviation of the targets. Raises `ArtifactError` where an older railcar has left it out."""
        path = self.path / "encoding.json"
        if not path.is_file():
            raise ArtifactError(
                f"{self.path}: does not say how its {self.kind}s are encoded; an older railcar made it",
                hint="remove that folder, then make it anew with: railcar evaluate RUN",
            )
        return json.loads(path.read_bytes())

    def load_model(self) -> Any:
        """The keras.Model, uncompiled. Raises `ArtifactError` when Keras cannot read it."""
        if (self.path / FOLDER).is_dir():
            return SavedNetwork(self.path / FOLDER)
        import keras

        import railcar.layers.all  # registers layers of ours  # noqa: F401

        try:
            return keras.models.load_model(self.path / "model.keras", compile=False, safe_mode=True)
        except (ValueError, TypeError, OSError) as error:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise ArtifactError(
                f"{self.path / 'model.keras'}: Keras cannot load it: {reason}",
                hint="make it anew with the railcar version that is installed: railcar train",
            ) from error

    def samples(self) -> tuple[Any, NDArray[np.float32]]:
        """(inputs, expected float32 [n, n_outputs]): images uint8 [n, height, width, channels], or a polars frame of
        typed columns."""
        folder = self.path / "samples"
        expected = np.load(folder / "expected.npy")
        if self.kind == "image":
            return np.load(folder / "inputs.npy"), expected
        import polars as pl

        return pl.read_parquet(folder / "inputs.parquet"), expected


def write_artifact(
    path: Path,
    model: Any,
    *,
    about: dict[str, Any],
    samples: tuple[Any, NDArray[np.float32]],
    facts: dict[str, Any],
    own: tuple[Any | None] | None = None,
    encoding: dict[str, Any] | None = None,
) -> Artifact:
    """Write `path` anew, replacing an older one. `about` has `kind`, `task`, `class_names` and `features`
    (`image_shape` of images, `columns` of tables); `samples` are inputs and what is expected of them; `facts` (metrics,
    run, checkpoint, data fingerprint, versions) go into artifact.json as they are. Where the user's key cannot be had
    it is not signed, and what is returned says why in its `note`. `own` says that the code of the network is not ours:
    it has the network without the encoding, None where there is none. `encoding` is how raw texts and rows become what
    the network takes."""
    partial = path.with_name(f".partial-{path.name}")
    with explain_output_errors(path), ExitStack() as stack:
        stack.callback(shutil.rmtree, partial, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "samples").mkdir(parents=True)
        if own is None:
            model.save(partial / "model.keras")
        else:
            write_saved_model(partial / FOLDER, model, *own, image_shape=about["features"].get("image_shape"))
        if encoding is not None:
            (partial / "encoding.json").write_text(json.dumps(encoding, ensure_ascii=False) + "\n")
        if isinstance(samples[0], np.ndarray):
            np.save(partial / "samples" / "inputs.npy", samples[0])
        else:
            samples[0].write_parquet(partial / "samples" / "inputs.parquet")
        np.save(partial / "samples" / "expected.npy", samples[1])
        (partial / "signature.json").write_text(json.dumps(_signature(about), indent=1) + "\n")
        manifest = {
            "format": FORMAT,
            **about,
            **facts,
            "checksums": {name: hash_file(partial / name) for name in _files(partial)},
        }
        try:
            manifest, reason = signing.sign(manifest), ""
        except ArtifactError as error:  # a training is not lost for that
            reason = f"the artifact is not signed, and needs --trust: {error.what}; {error.hint}"
        (partial / "artifact.json").write_text(json.dumps(manifest, indent=1) + "\n")
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    if reason:
        return replace(_read(path, _read_manifest(path)), is_own=False, note=reason)
    return read_artifact(path)


def read_artifact(path: Path, *, trust: bool = False) -> Artifact:
    """Verify format, signature and checksums. With `trust`, one that this user did not make is read, too, once its
    model has been looked at in a process of its own, without network and with little memory (seconds).

    Raises `NotFound` when there is none, and `ArtifactError` when it is damaged, somebody else's, or refused.
    """
    manifest = _read_manifest(path)
    key = None
    try:
        key = signing.find_key(mend=True)
    except ArtifactError:
        if not trust:
            raise
    is_own = signing.is_signed(manifest, key)
    if not is_own and not trust:
        raise _foreign(path, manifest)
    if not is_own:
        _refuse_links(path)
    found = replace(_read(path, manifest), is_own=is_own, note=key.note if key else "")
    if not is_own:
        from railcar.artifact.foreign import check_foreign

        check_foreign(path)
    return found


def read_unsigned(path: Path) -> Artifact:
    """One that nobody vouches for, whole as its manifest has it; for who looks at it. Raises as `read_artifact`."""
    _refuse_links(path)
    return replace(_read(path, _read_manifest(path)), is_own=False)


def _refuse_links(path: Path) -> None:
    for one in path.rglob("*"):
        if one.is_symlink():
            raise ForeignArtifact(f"{one}: is a link, which may lead anywhere", hint="ask who made it for a whole copy")


def _foreign(path: Path, manifest: dict[str, Any]) -> ForeignArtifact:
    hint = "if you know where it comes from: --trust"
    if signing.SIGNATURE not in manifest:
        hint += "; if an older railcar of yours made it: railcar evaluate RUN makes it anew"
    return ForeignArtifact(f"{path}: was not made by you on this machine", hint=hint)


def _read_manifest(path: Path) -> dict[str, Any]:
    """artifact.json, of a format that is known."""
    manifest_path = path / "artifact.json"
    if path.suffix in (".h5", ".hdf5") and path.is_file():
        what = f"{path}: a whole model as .h5 can hold code, and is not loaded"
        raise ForeignArtifact(what, hint="give the folder of an artifact")
    if not manifest_path.is_file():
        hint = "a finished run has one: railcar train; a stopped one goes on with: railcar train --resume=RUN"
        raise NotFound(f"{path}: no artifact is there", hint=hint)
    try:
        if manifest_path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES >> 20} MB")
        manifest = json.loads(manifest_path.read_bytes())
        if manifest["format"] > FORMAT:
            raise ArtifactError(
                f"{manifest_path}: format {manifest['format']} is newer than this railcar knows ({FORMAT})",
                hint='upgrade with: pip install --upgrade "railcar[cpu]"',
            )
        return manifest
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, error) from error


def _read(path: Path, manifest: dict[str, Any]) -> Artifact:
    """What the manifest says, once all files are as it says."""
    try:
        for name, checksum in manifest["checksums"].items():
            if hash_file(signing.find_file(path, name)) != checksum:
                raise ArtifactError(
                    f"{path / name}: the checksum does not match artifact.json; the file was changed or damaged",
                    hint="make it anew with: railcar evaluate RUN",
                )
        for name in _files(path):
            is_stray = name.rpartition("/")[2].startswith(".") or name in _STRAYS
            if name not in manifest["checksums"] and name != "artifact.json" and not is_stray:
                raise ArtifactError(
                    f"{path / name}: artifact.json knows nothing of this file; somebody has added it",
                    hint="remove it, or make the artifact anew with: railcar evaluate RUN",
                )
        task, names = manifest.get("task", "classification"), tuple(manifest["class_names"])
        artifact = Artifact(path, manifest["kind"], task, names, dict(manifest["features"]), manifest)
        _ = artifact.image_shape if artifact.kind == "image" else artifact.columns
        return artifact
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ArtifactError:
    return ArtifactError(
        f"{path / 'artifact.json'}: the artifact is damaged: {error}", hint="restore it from a copy, or train again"
    )


def _signature(about: dict[str, Any]) -> dict[str, Any]:
    features, is_number = about["features"], about["task"] == "regression"
    if about["kind"] == "image":
        shape = [None, None, None, features["image_shape"][2]]
        inputs: dict[str, Any] = {"image": {"dtype": "uint8", "shape": shape, "range": [0, 255]}}
    elif about["kind"] == "text":
        inputs = {"text": {"dtype": "string", "shape": [None]}}
    else:
        dtypes = {one["name"]: "string" if one["type"] == "category" else "float32" for one in features["columns"]}
        inputs = {name: {"dtype": dtype, "shape": [None]} for name, dtype in dtypes.items()}
    name, n_outputs = ("prediction", 1) if is_number else ("logits", len(about["class_names"]))
    return {"inputs": inputs, "outputs": {name: {"dtype": "float32", "shape": [None, n_outputs]}}}


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

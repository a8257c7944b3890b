"""An artifact's network for a small runtime, made once and kept in the cache, by a process that ends afterwards:
whoever serves it never loads TensorFlow.

    CACHE/serving/KEY/   litert/1/ and onnx/1/, as far as they can hold it, and engine.json: which one, and why

    python -m railcar.workflows.convert ARTIFACT FOLDER     one line of JSON on stdout: {} or {"error", "hint"}
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from railcar import __version__
from railcar.artifact.artifact import Artifact, read_unsigned
from railcar.errors import ArtifactError, ExportError, RailcarError
from railcar.registry import check_tensorflow
from railcar.serving.engines import SmallEngine
from railcar.serving.networks import LIGHT_BATCH, LIGHT_S
from railcar.storage.local import build_folder, cache_dir

CHOICE = "engine.json"
_RUNTIMES = {"litert": ("ai-edge-litert",), "onnx": ("onnxruntime", "tf2onnx")}
# LiteRT loads in a hundredth of the time and is as exact; another must be faster by so much.
_WORTH_IT = 1.05
_MANY = LIGHT_BATCH
# Another one where the engine is chosen otherwise: what was chosen before counts no more.
_CHOOSING = 2
_N_ROUNDS = 5


def find_converted(artifact: Artifact, say: Callable[[str], None]) -> Path:
    """The folder in the cache, made when it is not there. Raises `ArtifactError` for a model that cannot be loaded and
    `MissingExtra` where there is no TensorFlow to load it with."""
    folder = cache_dir() / "serving" / _find_key(artifact)
    if (folder / CHOICE).is_file():
        return folder
    check_tensorflow("serving a model for the first time")
    say(f"making {artifact.path} ready for serving, once ...")
    with build_folder(folder) as partial:
        (partial / "about.json").write_text(json.dumps({"artifact": str(artifact.path.absolute())}) + "\n")
        _run_apart(artifact.path, partial)
    return folder


def read_choice(folder: Path) -> tuple[str, str]:
    """(engine, reason)."""
    about = json.loads((folder / CHOICE).read_bytes())
    return about["engine"], about["reason"]


def _find_key(artifact: Artifact) -> str:
    """Of all that decides what comes out."""
    versions = {}
    for package in ("ai-edge-litert", "onnxruntime", "tf2onnx", "tensorflow", "tensorflow-cpu"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = ""
    about = [_CHOOSING, artifact.manifest["checksums"], artifact.manifest["class_names"], __version__, versions]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]


def _run_apart(artifact: Path, folder: Path) -> None:
    words = [sys.executable, "-m", "railcar.workflows.convert", str(artifact), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        told = {"error": f"{artifact}: cannot be made ready for serving: {last[:200]}", "hint": ""}
    if told:
        raise ArtifactError(told["error"], hint=told["hint"])


def convert(path: Path, folder: Path) -> None:
    """Write what `find_converted` finds into `folder`. The artifact has been verified and trusted by the caller."""
    from railcar.training.tensorflow import import_tensorflow, quiet_stderr

    artifact = read_unsigned(path)  # whoever called has verified it
    import_tensorflow(needed_for="serving")
    from railcar.exporting.formats import export_artifact

    engines: dict[str, SmallEngine] = {}
    reasons = []
    with quiet_stderr():
        model = artifact.load_model()
        for name in _RUNTIMES:
            if not _is_installed(name):
                continue
            try:
                engines[name] = SmallEngine(export_artifact(artifact, model, name, folder).path)
            except ExportError as error:
                reasons.append(error.what)
    engine, reason = _choose(engines, reasons)
    (folder / CHOICE).write_text(json.dumps({"engine": engine, "reason": reason}) + "\n")


def _is_installed(name: str) -> bool:
    try:
        return all(importlib.metadata.version(package) for package in _RUNTIMES[name])
    except importlib.metadata.PackageNotFoundError:
        return False


def _choose(engines: dict[str, SmallEngine], reasons: list[str]) -> tuple[str, str]:
    if not engines:
        return "tensorflow", "; ".join(reasons) or "neither LiteRT nor ONNX Runtime is installed"
    found = dict.fromkeys(engines, float("inf"))
    for _ in range(_N_ROUNDS):  # in turns: what else the machine does hits both
        for name, one in engines.items():
            found[name] = min(found[name], _time_answer(one))
    best = min(found, key=lambda name: found[name] * (1.0 if name == "litert" else _WORTH_IT))
    told = ", ".join(f"{name} {seconds * 1e3:.2g} ms" for name, seconds in found.items())
    return best, f"an answer takes: {told}"


def _time_answer(engine: SmallEngine) -> float:
    """Seconds: of an input alone, and of a light network the mean of that and of one among many."""
    alone = engine.network.time_batch(1)
    if engine.is_single or alone > LIGHT_S:
        return alone
    return (alone + engine.network.time_batch(_MANY) / _MANY) / 2


def main(words: list[str]) -> int:
    """The process apart."""
    told: dict[str, str] = {}
    try:
        convert(Path(words[0]), Path(words[1]))
    except RailcarError as error:
        told = {"error": error.what, "hint": error.hint}
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

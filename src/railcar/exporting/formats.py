"""The formats by name, and the way to each: written beside what is there, checked, and only then given its number.

    FOLDER/FORMAT/1/   keras         model.keras
                       saved_model   saved_model.pb, variables/, assets.extra/
                       litert        model.tflite, model.json, model.py, samples/
                       onnx          model.onnx, model.json, model.py, samples/

and in each labels.txt and export.json. Numbers count up: TensorFlow Serving takes the highest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import railcar
from railcar.artifact import standalone
from railcar.artifact.artifact import Artifact
from railcar.artifact.samples import TOLERANCE, measure_difference
from railcar.artifact.saved_model import FOLDER as OWN
from railcar.errors import ExportError
from railcar.exporting import litert, onnx, saved_model
from railcar.exporting.core import Core, build_answer, describe, find_core
from railcar.storage.local import explain_output_errors


@dataclass(frozen=True)
class Exported:
    """`difference` is the largest from what the artifact expects of its samples; of 8-bit integers `accuracy` has what
    they come to on the test side, and the network before them."""

    format: str
    path: Path
    version: int
    n_bytes: int
    difference: float
    accuracy: dict[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path)}


def explain_limits(artifact: Artifact, model: Any, name: str) -> list[str]:
    """What a format does not hold, in words, before it is made. Raises `ExportError` where it cannot hold the model."""
    if name == "keras" and (artifact.path / OWN).is_dir():
        raise ExportError(
            f"{artifact.path}: the code of its network is yours, and no .keras file holds that",
            hint="export it with --format saved_model",
        )
    if name not in ("litert", "onnx"):
        return []
    core = find_core(artifact, model)
    taken, raw = "numbers of words", "texts"
    if artifact.kind == "table":
        taken, raw = "encoded numbers", "rows"
    elif artifact.kind == "image":
        height, width, _ = core.shape
        taken, raw = f"images of {height}x{width} pixels", "image files"
    return [f"{name}: takes {taken}; its model.py makes them of {raw}"]


def export_artifact(
    artifact: Artifact,
    model: Any,
    name: str,
    folder: Path,
    *,
    calibration: NDArray[Any] | None = None,
    measure: Callable[[Any], dict[str, float]] | None = None,
) -> Exported:
    """Write the loaded `model` of an artifact in the format `name` as the next version under `folder`/`name`.

    `calibration` (LiteRT): encoded examples, by which weights become 8-bit integers, and of images activations, too;
    `measure` is then given the loaded export and tells its accuracy. Raises `ExportError` when the format cannot hold
    the network, or answers otherwise than the artifact: nothing is then left.
    """
    place = folder / name
    version = 1 + max((int(one.name) for one in place.glob("*") if one.name.isdigit()), default=0)
    partial = place / f".partial-{version}"
    with explain_output_errors(place), ExitStack() as stack:
        stack.callback(shutil.rmtree, partial, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        core = find_core(artifact, model) if name in ("litert", "onnx") else None
        _write(artifact, model, name, partial, core, calibration)
        answers, loaded = _answer_samples(artifact, name, partial)
        expected = artifact.samples()[1]
        difference = max((_compare(one, expected, artifact) for one in answers), default=0.0)
        accuracy = measure(loaded) if calibration is not None and measure is not None else None
        if difference > TOLERANCE and calibration is None:
            raise ExportError(
                f"{name}: its answers to the artifact's samples differ by {difference:.4f}, and {TOLERANCE} is allowed",
                hint="nothing was written; please report it, with the network's name",
            )
        _write_notes(artifact, name, partial, difference, accuracy)
        partial.rename(place / str(version))
    n_bytes = sum(one.stat().st_size for one in (place / str(version)).rglob("*") if one.is_file())
    return Exported(name, place / str(version), version, n_bytes, difference, accuracy)


def _write(
    artifact: Artifact, model: Any, name: str, folder: Path, core: Core | None, calibration: NDArray[Any] | None
) -> None:
    if core is None:
        if name == "saved_model":
            saved_model.write_saved_model(folder, artifact, model)
        else:
            shutil.copyfile(artifact.path / "model.keras", folder / "model.keras")
        return
    file = litert.FILE if name == "litert" else onnx.FILE
    if name == "litert":
        litert.write_litert(folder / file, core, calibration)
    else:
        onnx.write_onnx(folder / file, core)
    batch = 1 if name == "litert" and core.recurs else None
    about = {"file": file, "batch": batch, **describe(artifact, core)}
    (folder / "model.json").write_text(json.dumps(about, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.copyfile(standalone.__file__, folder / "model.py")
    _write_samples(artifact, folder / "samples")


def _answer_samples(artifact: Artifact, name: str, folder: Path) -> tuple[list[NDArray[np.float32]], Any]:
    """What the export says of the artifact's samples, loaded anew; and the loaded export, of those with a model.py."""
    inputs, _ = artifact.samples()
    if name == "keras":
        loaded = replace(artifact, path=folder).load_model()
        return [np.asarray(build_answer(loaded, artifact)(saved_model.to_inputs(inputs, artifact)))], None
    if name == "saved_model":
        return saved_model.answer_samples(folder, artifact), None
    loaded = load_standalone(folder)
    return [loaded.predict_encoded(loaded.encode(_to_raw(inputs, artifact)))], loaded


def _to_raw(inputs: Any, artifact: Artifact) -> list[Any]:
    """Samples as model.py takes them: images, texts or rows."""
    if artifact.kind == "image":
        return list(inputs)
    rows = inputs.rows(named=True)
    return [next(iter(row.values())) or "" for row in rows] if artifact.kind == "text" else rows


def _write_samples(artifact: Artifact, folder: Path) -> None:
    """The artifact's samples for whoever serves the export: inputs.npy or inputs.json, and expected.npy."""
    inputs, expected = artifact.samples()
    folder.mkdir()
    np.save(folder / "expected.npy", expected)
    if artifact.kind == "image":
        np.save(folder / "inputs.npy", inputs)
        return
    raw = json.dumps(_to_raw(inputs, artifact), ensure_ascii=False)
    (folder / "inputs.json").write_text(raw + "\n", encoding="utf-8")


def load_standalone(folder: Path) -> Any:
    """The `Model` of the model.py in a folder."""
    module = ModuleType("railcar_exported_model")
    path = folder / "model.py"
    module.__file__ = str(path)
    exec(
        compile(path.read_text(encoding="utf-8"), path, "exec"), module.__dict__
    )  # an import would leave its cache there
    return module.Model(str(folder))


def _compare(answers: NDArray[np.float32], expected: NDArray[np.float32], artifact: Artifact) -> float:
    return measure_difference(answers, expected, is_number=artifact.task == "regression")


def _write_notes(
    artifact: Artifact, name: str, folder: Path, difference: float, accuracy: dict[str, float] | None
) -> None:
    notes = folder / "assets.extra" if name == "saved_model" else folder
    notes.mkdir(exist_ok=True)
    facts = {key: artifact.manifest.get(key) for key in ("run", "checkpoint", "data_fingerprint", "metrics")}
    about = {
        "format": name,
        "railcar": railcar.__version__,
        "kind": artifact.kind,
        "task": artifact.task,
        "labels": list(artifact.class_names),
        "largest_difference": difference,
        "tolerance": TOLERANCE,
        **({"accuracy": accuracy} if accuracy else {}),
        **facts,
    }
    (notes / "export.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if artifact.task != "regression":
        (notes / "labels.txt").write_text("".join(f"{one}\n" for one in artifact.class_names), encoding="utf-8")

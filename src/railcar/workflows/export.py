"""`export`: a run's model in the forms that other runtimes load, each checked against the artifact's samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from railcar.artifact.artifact import Artifact, read_artifact
from railcar.errors import UsageError
from railcar.registry import check_tensorflow
from railcar.runs.place import open_run
from railcar.runs.run_dir import RunDir
from railcar.storage.local import expand_home
from railcar.training.tensorflow import import_tensorflow, quiet_stderr
from railcar.workflows.look import Look

if TYPE_CHECKING:
    from railcar.data.types import Split
    from railcar.exporting.formats import Exported

_N_CALIBRATED, _N_MEASURED = 200, 2000


def export(
    run: str | Path | None = None,
    *,
    formats: Sequence[str] = ("saved_model",),
    output: str | Path | None = None,
    artifact: str | Path | None = None,
    int8: bool = False,
    runs_dir: str | Path = "runs",
    trust: bool = False,
    quiet: bool = False,
    verbose: bool = False,
    color: bool | None = None,
) -> list[Exported]:
    """Write the model of a run (None for the newest), or of the folder `artifact`, in each of the formats `keras`,
    `saved_model`, `litert` and `onnx`, as `output`/FORMAT/VERSION; `output` is `exports/RUN` where it is not given.

    `int8` makes LiteRT's weights 8-bit integers, of images activations, too, calibrated on 200 examples that the run
    was trained on, and measures what that costs on its test side. `trust` takes an artifact that you have not made on
    this computer, too; its model is looked at before it is loaded. Raises `UsageError` for a format that there is not,
    `MissingExtra` for a library that is missing, and `ExportError` when a format cannot hold the model or answers
    otherwise.
    """
    _check_words(formats, artifact, int8)
    check_tensorflow("exporting")
    look = Look(quiet, verbose, color)
    opened = None if artifact is not None else open_run(run, runs_dir)
    place = expand_home(artifact) if opened is None else opened.artifact  # type: ignore[arg-type]
    found = read_artifact(place, trust=trust)
    name = opened.name if opened else found.path.absolute().parent.name
    folder = expand_home(output) if output is not None else Path("exports") / name
    import_tensorflow(needed_for="exporting")
    from railcar.exporting.formats import explain_limits, export_artifact

    with closing(look.reporter()) as reporter:
        if found.note:
            reporter.warn(found.note)
        with quiet_stderr():
            model = found.load_model()
            examples = _read_examples(opened, found, model, reporter, trust) if int8 and opened else None
        for one in formats:
            for line in explain_limits(found, model, one):
                reporter.say(line)
        made = []
        for one in formats:
            extra: dict[str, Any] = {}
            if one == "litert" and examples is not None:
                extra = {"calibration": examples[0], "measure": examples[1]}
            with quiet_stderr():
                made.append(export_artifact(found, model, one, folder, **extra))
    return made


def _check_words(formats: Sequence[str], artifact: Any, int8: bool) -> None:
    from railcar.exporting.names import FORMATS, check_libraries

    for one in formats:
        if one not in FORMATS:
            raise UsageError(f"there is no format {one!r}", hint=f"formats are: {', '.join(FORMATS)}")
    if int8 and "litert" not in formats:
        raise UsageError("--int8 is LiteRT's", hint="add --format litert")
    if int8 and artifact is not None:
        raise UsageError("--int8 needs the data of a run, to calibrate by", hint="name the run in place of --artifact")
    for one in formats:
        check_libraries(one)


def _read_examples(
    run: RunDir, artifact: Artifact, model: Any, reporter: Any, trust: bool
) -> tuple[NDArray[Any], Callable[[Any], dict[str, float]]]:
    """Encoded examples to calibrate by, and what measures a network against that of the artifact."""
    from railcar.exporting.core import find_core
    from railcar.workflows.evaluate import open_own_data
    from railcar.workflows.recorded import check_code_is_own, read_recipe

    recipe = read_recipe(run)
    if not trust:
        check_code_is_own(run, recipe)
    dataset = open_own_data(run, recipe, reporter)
    test = next(dataset.splits[side] for side in ("test", "validation", "train") if side in dataset.splits)
    inputs, rows = _take(test, _N_MEASURED)
    labels, core = test.label_array()[rows], find_core(artifact, model)

    def measure(loaded: Any) -> dict[str, float]:
        before = np.concatenate([core.compute(part).numpy() for part in np.array_split(inputs, len(inputs) // 64 + 1)])
        after = loaded.predict_encoded(inputs)
        if artifact.task == "regression":
            from railcar.evaluation.metrics import in_unit

            _, truth = in_unit(before, labels, dataset.features.target)
            errors = [float(np.abs(one[:, 0] - truth).mean()) for one in (before, after)]
            return {"examples": len(rows), "error_before": errors[0], "error": errors[1]}
        right = [float((one.argmax(-1) == labels).mean()) for one in (before, after)]
        return {"examples": len(rows), "accuracy_before": right[0], "accuracy": right[1]}

    return _take(dataset.splits["train"], _N_CALIBRATED)[0], measure


def _take(split: Split, n_most: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Examples spread over a split, as the network takes them, and which of its rows they are."""
    rows = np.linspace(0, len(split) - 1, min(n_most, len(split))).astype(np.int64)
    return np.asarray(split.inputs[split.rows[rows]]), rows

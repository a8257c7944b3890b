"""`predict` and `load`: an artifact's model on new images, files, folders and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from railcar.artifact.artifact import read_artifact
from railcar.errors import DataError, NotFound
from railcar.registry import check_tensorflow
from railcar.runs.index import find_run
from railcar.serving.predictor import Prediction, Predictor
from railcar.storage.images import SUFFIXES
from railcar.storage.local import expand_home
from railcar.training.tensorflow import import_tensorflow, quiet_stderr

_ROWS = (".csv", ".csv.gz")


def load(
    run: str | Path | None = None,
    *,
    artifact: str | Path | None = None,
    runs_dir: str | Path = "runs",
) -> Predictor:
    """The model of a run (a name, a unique prefix, a folder, None for the newest), or of an artifact's folder.

    Its `predict(images)` takes uint8 images [n, height, width, channels] of any size. Raises `NotFound` when there is
    no such run or artifact and `ArtifactError` when it is damaged.
    """
    check_tensorflow("predicting")
    path = Path(artifact) if artifact is not None else find_run(run, runs_dir).artifact
    found = read_artifact(path)
    import_tensorflow(needed_for="predicting")
    with quiet_stderr():
        return Predictor(found)


def predict(
    inputs: str | Path | Sequence[str | Path],
    *,
    run: str | Path | None = None,
    artifact: str | Path | None = None,
    runs_dir: str | Path = "runs",
    top: int = 3,
) -> list[Prediction]:
    """What is on each image: a file, a folder of images (its sub-folders, too) or a CSV of pixels, one row an image.

    Raises `NotFound` for an input that is not there and `DataError` for the first one that cannot be read.
    """
    results = []
    for one in predict_each(inputs, run=run, artifact=artifact, runs_dir=runs_dir, top=top):
        if isinstance(one, DataError):
            raise one
        results.append(one)
    return results


def predict_each(
    inputs: str | Path | Sequence[str | Path],
    *,
    run: str | Path | None = None,
    artifact: str | Path | None = None,
    runs_dir: str | Path = "runs",
    top: int = 3,
) -> Iterator[Prediction | DataError]:
    """As `predict`, one after the other, with a `DataError` in the place of an image that cannot be read."""
    paths = [expand_home(one) for one in ([inputs] if isinstance(inputs, str | Path) else inputs)]
    groups = [(path, _list_images(path)) for path in paths]
    predictor = load(run, artifact=artifact, runs_dir=runs_dir)
    for path, images in groups:
        if images is None:
            yield from _predict_rows(predictor, path, top)
        else:
            yield from predictor.predict_files(images, top=top)


def _list_images(path: Path) -> list[Path] | None:
    """The image files that `path` stands for; None for a CSV. Raises `NotFound` and `DataError`."""
    if not path.exists():
        raise NotFound(
            f"{path}: no such file or folder", hint="give image files, a folder of images, or a CSV of pixels"
        )
    if path.is_file():
        return None if path.name.lower().endswith(_ROWS) else [path]
    images = sorted(
        one
        for one in path.rglob("*")
        if one.suffix.lower() in SUFFIXES and not one.name.startswith(".") and one.is_file()
    )
    if not images:
        raise DataError(f"{path}: no images in this folder", hint=f"images end in {', '.join(SUFFIXES)}")
    return images


def _predict_rows(predictor: Predictor, path: Path, top: int) -> Iterator[Prediction]:
    from railcar.data.sources.csv import read_pixel_rows

    images, first_line = read_pixel_rows(path, predictor.artifact.image_shape)
    names = [f"{path}:{first_line + index}" for index in range(len(images))]
    yield from predictor.predict(images, names=names, top=top)

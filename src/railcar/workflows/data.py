"""Opening the data that a recipe names, with a progress bar while it is read for the first time."""

from __future__ import annotations

from pathlib import Path

from railcar.data.prepare import open_arrays, open_dataset
from railcar.data.types import Dataset
from railcar.errors import DataError
from railcar.recipe.schema import Last, Recipe, Share
from railcar.training.progress import Reporter
from railcar.workflows.inputs import ARRAYS, Arrays


def open_data(recipe: Recipe, arrays: Arrays | None, reporter: Reporter) -> Dataset:
    """The recipe's data, prepared, memory-mapped and split. Raises `NotFound` and `DataError`."""
    node = recipe.data
    validation, test = _plain(node.validation), _plain(node.test)
    with reporter.reading_bar() as progress:
        if arrays is not None:
            return open_arrays(
                arrays.images,
                arrays.labels,
                seed=recipe.seed,
                validation=validation,
                test=test,
                image_size=node.image_size,
                progress=progress,
            )
        if node.source == ARRAYS and not Path(ARRAYS).exists():
            raise DataError(
                "data.source: this recipe was made for arrays in memory, which are gone",
                hint="hand them over in Python: railcar.train((images, labels), ...)",
            )
        return open_dataset(
            node.source,
            seed=recipe.seed,
            validation=validation,
            test=test,
            image_size=node.image_size,
            max_bad=node.max_bad,
            label=node.label,
            progress=progress,
        )


def _plain(share: Share | None) -> float | int | tuple[str, int] | str | None:
    return ("last", share.last) if isinstance(share, Last) else share

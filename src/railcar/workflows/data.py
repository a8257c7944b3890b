"""Opening the data that a recipe names, with a progress bar while it is read for the first time; texts and rows are
encoded for the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from railcar.data.prepare import open_arrays, open_dataset, open_frame
from railcar.data.selection import Selection, check_one_label
from railcar.data.types import Dataset, Features, PixelRoom, ReadOptions
from railcar.errors import DataError
from railcar.recipe.schema import Last, Part, Recipe, Share, TestShare
from railcar.registry import MODELS, RAW, WORDS, is_own
from railcar.storage.columns import Column
from railcar.storage.local import cache_dir
from railcar.training import hardware
from railcar.training.progress import Reporter
from railcar.training.tensorflow import await_import, begin_import, import_tensorflow, quiet_stderr
from railcar.workflows.inputs import ARRAYS, Arrays, Input, settle_recipe


def open_data(given: Input, reporter: Reporter, *, features: Features | None = None) -> Dataset:
    """The data of what is `given`, prepared, split, and as its network takes it: by what the run knew that it begins
    from, its `features`, else by what is found in the training split. TensorFlow is imported for texts and rows. Raises
    `NotFound` and `DataError`.

    Where reading takes so long that it tells how far it is, TensorFlow is imported meanwhile.
    """
    try:
        dataset = read_data(
            given.recipe,
            given.arrays,
            reporter,
            known=list_columns(features),
            may_stream=True,
            meanwhile=begin_import,
        )
    finally:
        await_import()  # what comes next, an error most of all, would be told to nobody
    if given.recipe.data.classes is None:
        check_one_label(dataset.features.class_names, where=dataset.source)
    name = settle_recipe(given, dataset)[0].model.name
    return encode(dataset, features, reporter, form=_find_form(name))


def _find_form(name: str) -> str:
    """What texts are to a network: strings to a function that asks for them."""
    if not is_own(name):
        return MODELS[name].form if name in MODELS else WORDS
    import_tensorflow(needed_for="a network of your own")
    with quiet_stderr():
        from railcar.models.own import TEXTS, find_function

        return RAW if TEXTS in find_function(name).arguments else WORDS


def list_columns(features: Features | None) -> tuple[Column, ...]:
    """The columns that a model knows, with their types; none for images."""
    found = (features.encoding or {}).get("columns", ()) if features else ()
    return tuple(Column(one["name"], one["type"], form=one["form"]) for one in found)


def encode(dataset: Dataset, features: Features | None, reporter: Reporter, *, form: str = WORDS) -> Dataset:
    """`dataset` as a network takes it that takes texts as `form`; that of `features` counts."""
    if dataset.features.kind == "image":
        return dataset
    from railcar.data.encode import encode_dataset

    with reporter.working("loading TensorFlow"):
        import_tensorflow(needed_for="texts and tables")
    with reporter.working("encoding"):
        return encode_dataset(dataset, features, form=form)


def read_data(
    recipe: Recipe,
    arrays: Arrays | None,
    reporter: Reporter,
    *,
    known: tuple[Column, ...] = (),
    may_stream: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> Dataset:
    """The recipe's data, prepared and split; texts and rows raw, with the columns that are `known` if there are any.
    With `may_stream` the images of a pack are decoded when they are used, and one in a bucket is not fetched before;
    `meanwhile` is called whenever reading tells how far it is. Imports no TensorFlow."""
    node = recipe.data
    sides: dict[str, Any] = {
        "seed": recipe.seed,
        "validation": _plain(node.validation),
        "test": _plain(node.test),
        "selection": Selection(node.classes, node.limit_per_class, node.duplicates == "drop", node.allow_leakage),
    }
    with reporter.reading_bar() as show:

        def progress(what: str, n_done: int, n: int) -> None:
            meanwhile()
            show(what, n_done, n)

        options = ReadOptions(
            node.image_size,
            node.max_bad,
            node.label,
            progress,
            fit=node.fit,
            kind=node.kind,
            task=node.task,
            drop=node.drop,
            columns=node.columns,
            group=node.group,
            known=known,
            keep=node.keep,
            room=measure_room() if node.keep == "auto" else None,
            may_stream=may_stream,
        )
        if arrays is not None and arrays.frame is not None:
            return open_frame(arrays.frame, options, **sides)
        if arrays is not None:
            size = {"image_size": node.image_size, "fit": node.fit}
            return open_arrays(arrays.images, arrays.labels, progress=progress, **size, **sides)
        if node.source == ARRAYS and not Path(ARRAYS).exists():
            raise DataError(
                "data.source: this recipe was made for arrays in memory, which are gone",
                hint="hand them over in Python: railcar.train((images, labels), ...)",
            )
        return open_dataset(node.source, options, **sides)


def measure_room() -> PixelRoom | None:
    """What pixels may take here; None where the memory is not known."""
    memory = hardware.memory_bytes()
    return PixelRoom(memory, int(hardware.free_disk_gb(cache_dir()) * 2**30)) if memory else None


def _plain(share: Share | TestShare | None) -> Any:
    """As `data/splits.py` takes it."""
    if isinstance(share, Part):
        return ("last", share.last) if share.fold is None else ("fold", share.fold - 1, share.of)
    return ("last", share.last) if isinstance(share, Last) else share

"""`bench`: how fast this machine multiplies, and how much of that a training on it uses.

Measures ceilings and recipes one after the other. Recipes are trained by the very loop that `train` runs, on random
images made on the spot: nothing is downloaded, and nothing is left behind but what `training/kernels.py` remembers.
"""

from __future__ import annotations

import signal
import statistics
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from railcar.errors import Interrupted, UsageError
from railcar.recipe.load import bundled_recipes, load_recipe
from railcar.recipe.schema import Recipe
from railcar.registry import MODELS
from railcar.runs.run_dir import RunDir
from railcar.training import hardware
from railcar.training.flops import count_step_flop
from railcar.training.progress import Reporter
from railcar.training.tensorflow import import_tensorflow, quiet_stderr
from railcar.workflows.inputs import Input
from railcar.workflows.job import Job, prepare_job
from railcar.workflows.train import train_steps

if TYPE_CHECKING:
    from railcar.data.types import Dataset
    from railcar.training.callbacks import StopSignals

# Height, width, channels and number of classes of the known sets: their sizes are all that a rate depends on.
SHAPES = {
    "mnist": ((28, 28, 1), 10),
    "mnist-sample": ((28, 28, 1), 10),
    "cifar10": ((32, 32, 3), 10),
}
_N_BATCHES = 16
_N_STEPS = 10**7
_N_ROWS = 2
_POLL_S = 0.05

Told = Callable[[str], None]
"""Called with what is measured next."""


def measure_machine(seconds: float, told: Told) -> list[dict[str, Any]]:
    """The ceilings: for each device `device`, `name` and `rates`, GFLOP/s as {"matmul": {"float32": ...}, ...}."""
    names = {one["device"]: one["name"] for one in hardware.describe_devices()}
    ceilings = []
    for device in hardware.list_compute_devices():
        name = names.get(device, hardware.cpu_model())
        dtypes = ("float32", "bfloat16", *(("float16",) if device.startswith("GPU") else ()))
        rates: dict[str, dict[str, float]] = {}
        for operation in hardware.OPERATIONS:
            rates[operation] = {}
            for dtype in dtypes:
                told(f"{device}: {operation}, {dtype}")
                rates[operation][dtype] = hardware.measure_rate(operation, dtype, device, seconds)
        ceilings.append({"device": device, "name": name, "rates": rates})
    return ceilings


def measure_recipes(
    names: Sequence[str], *, overrides: Sequence[str] = (), seconds: float, told: Told
) -> list[dict[str, Any]]:
    """What a training does on this machine: a row of `recipe`, `precision`, `compile`, `batch_size`, `image_shape`,
    `mflop` (of one image in one step; None when they cannot be counted), `images_per_s` and `gflops`."""
    rows = []
    for name, recipe in [(name, load_recipe(name, overrides)) for name in names or image_recipes()]:
        image_shape, n_classes = find_shape(recipe)
        told(f"recipe {name}")
        dataset = make_random_data(image_shape, n_classes, n_images=recipe.training.batch_size * _N_BATCHES)
        job = prepare_job(Input(load_recipe(recipe, _bare_settings()), is_complete=True), dataset, None)
        job.halves = None  # all of the network is measured
        rate = measure_training(job, seconds)
        flop = count_step_flop(job.model)
        rows.append(
            {
                "recipe": name,
                "precision": job.runtime.precision.value,
                "compile": job.runtime.compile.value,
                "batch_size": recipe.training.batch_size,
                "image_shape": list(image_shape),
                "mflop": flop / 1e6 if flop else None,
                "images_per_s": rate,
                "gflops": flop * rate / 1e9 if flop else None,
            }
        )
    return rows


def bench(
    names: Sequence[str] = (), *, overrides: Sequence[str] = (), seconds: float = 3.0, told: Told = lambda what: None
) -> dict[str, Any]:
    """Ceilings and rates of the bundled recipes, or of those named; `seconds` for each measurement after its warm-up.

    A row of `recipes` has in `share` its GFLOP/s over the `ceiling_gflops`, the best that the first device reached in
    the row's precision. Raises `RecipeError`, `UsageError` and `MissingExtra`.
    """
    for name in names:
        find_shape(load_recipe(name, overrides))
    import_tensorflow(needed_for="measuring")
    with quiet_stderr():
        ceilings = measure_machine(seconds, told)
        rows = measure_recipes(names, overrides=overrides, seconds=seconds, told=told)
    first = ceilings[0]["rates"]
    for row in rows:
        rates = [rates[row["precision"]] for rates in first.values() if row["precision"] in rates]
        row["ceiling_gflops"] = max(rates, default=None)
        row["share"] = row["gflops"] / row["ceiling_gflops"] if rates and row["gflops"] else None
    return {"ceilings": ceilings, "recipes": rows}


def image_recipes() -> list[str]:
    """The bundled recipes that are measured when none is named: small networks for rows say nothing of a machine."""
    return [name for name in bundled_recipes() if MODELS[load_recipe(name).model.name].kind == "image"]


def find_shape(recipe: Recipe) -> tuple[tuple[int, int, int], int]:
    """(height, width, channels) of the recipe's images and its number of classes, without reading or fetching any; data
    of one's own counts as RGB with ten classes. Raises `UsageError` when its size is said nowhere."""
    kind = MODELS[recipe.model.name].kind
    if kind != "image":
        raise UsageError(
            f"{recipe.name}: a network for {kind} data; random images are what bench trains on",
            hint=f"measure one of: {', '.join(image_recipes())}",
        )
    shape, n_classes = SHAPES.get(recipe.data.source, (None, 10))
    if recipe.data.image_size is not None:
        return (*recipe.data.image_size, shape[2] if shape else 3), n_classes
    if shape is None:
        raise UsageError(
            f"{recipe.name}: the size of the images of {recipe.data.source} is not known without reading them",
            hint="say it with --set data.image_size=[HEIGHT,WIDTH]",
        )
    return shape, n_classes


def make_random_data(image_shape: tuple[int, int, int], n_classes: int, *, n_images: int) -> Dataset:
    """Images of noise and labels that mean nothing, in memory, as the only split."""
    import numpy as np

    from railcar.data.fingerprint import mean_and_std, sum_pixels
    from railcar.data.types import Dataset, Features, Split

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (n_images, *image_shape), np.uint8)
    labels = np.arange(n_images, dtype=np.int32) % n_classes
    mean, std = mean_and_std(sum_pixels(images), image_shape[0] * image_shape[1])
    names = tuple(str(number) for number in range(n_classes))
    split = Split("train", images, labels, np.arange(n_images), "train")
    return Dataset("random", "arrays", Features("image", image_shape, names, mean, std), {"train": split}, "", Path())


def _bare_settings() -> dict[str, Any]:
    """Nothing but steps: no validation, no records for TensorBoard, and no end before we say so."""
    return {
        "data.validation": None,
        "training.steps": _N_STEPS,
        "training.validate_every": _N_STEPS,
        "training.checkpoint_every": _N_STEPS,
        "training.log_every": 1,
        "training.best": "last",
        "training.tensorboard": False,
        "training.early_stop": None,
        "training.stop_at": None,
    }


def measure_training(job: Job, seconds: float) -> float:
    """Images a second of the loop's steps, the median over the steps of about `seconds` after the first ones, which
    trace and compile."""
    with tempfile.TemporaryDirectory(prefix="railcar-bench-") as folder, closing(Reporter(quiet=True)) as reporter:
        run = RunDir.create(folder, "bench")
        with quiet_stderr():
            from railcar.training.callbacks import StopSignals
        ended = threading.Event()
        with StopSignals("measure again with: railcar bench") as signals:
            clock = threading.Thread(target=_stop_later, args=(run, signals, seconds, ended), daemon=True)
            clock.start()
            try:
                train_steps(job, run, reporter, signals, None)
            except Interrupted:
                if not ended.is_set():
                    raise
            finally:
                ended.set()
                clock.join()
        rates = [row["examples_per_s"] for row in run.read_metrics()]
    return statistics.median(rates[1 + len(rates) // 4 :] or rates[-1:])


def _stop_later(run: RunDir, signals: StopSignals, seconds: float, ended: threading.Event) -> None:
    """End the training as a signal would, `seconds` after its first rows; nothing when it ends by itself before."""
    while _count_rows(run) < _N_ROWS:
        if ended.wait(_POLL_S):
            return
    if not ended.wait(seconds):
        ended.set()
        signals.received = signal.SIGTERM


def _count_rows(run: RunDir) -> int:
    return run.metrics_path.read_bytes().count(b"\n") if run.metrics_path.exists() else 0

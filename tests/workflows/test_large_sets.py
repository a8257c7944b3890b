"""Trainings on images that stay encoded, where they are or in a bucket."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

import railcar
from railcar.data.sources.shards import pack_folder
from railcar.errors import DataError, Unreachable
from railcar.runs.run_dir import RunDir
from tests.places import Place, clouds, s3, s3_endpoint
from tests.synthetic import tiny_recipe, write_image_folder
from tests.workflows.test_resume import expect_same_variables

__all__ = ["clouds", "s3", "s3_endpoint"]
N_STEPS = 12


def make_recipe(source: object, keep: str = "auto") -> dict[str, object]:
    recipe = tiny_recipe(steps=N_STEPS, checkpoint_every=50, batch_size=8, log_every=1, steps_per_call=1)
    data = {"source": str(source), "validation": 0.2, "test": 0.2, "keep": keep}
    return {**recipe, "data": {**recipe["data"], **data}}  # type: ignore[dict-item]


def test_encoded_images_train_the_same_network_to_the_bit(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "photos")
    runs = {
        keep: railcar.train(make_recipe(folder, keep), runs_dir=tmp_path, quiet=True) for keep in ("pixels", "encoded")
    }
    expect_same_variables(RunDir(runs["pixels"].path), RunDir(runs["encoded"].path), N_STEPS)
    assert runs["encoded"].evaluation == runs["pixels"].evaluation
    assert "kept encoded" in RunDir(runs["encoded"].path).log_path.read_text()


def test_a_file_that_changes_while_training_ends_it_with_a_checkpoint(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "photos")
    recipe = make_recipe(folder, "encoded")
    whole = railcar.train(recipe, runs_dir=tmp_path / "whole", quiet=True)
    train_ids = pl.read_parquet(RunDir(whole.path).splits_path).filter(pl.col("side") == "train")["id"]
    victim = folder / train_ids[5]
    content, times = victim.read_bytes(), victim.stat()
    victim.write_bytes(content[:-1] + b"?")
    os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))  # so that a look does not tell
    with pytest.raises(DataError) as caught:
        railcar.train(recipe, runs_dir=tmp_path / "cut", quiet=True)
    assert caught.value.what.startswith(f"{victim}: ")
    assert "everything up to step" in caught.value.what

    victim.write_bytes(content)
    os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))
    cut = railcar.train(resume=True, runs_dir=tmp_path / "cut", quiet=True)
    expect_same_variables(RunDir(whole.path), RunDir(cut.path), N_STEPS)


def test_a_training_whose_bucket_is_lost_is_saved_and_goes_on(
    s3: Place, clouds: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pack_folder(write_image_folder(tmp_path / "photos"), f"{s3.address}/pack")
    recipe = make_recipe(f"{s3.address}/pack", "encoded")
    whole = railcar.train(recipe, runs_dir=tmp_path / "whole", quiet=True)

    clouds.setenv("RAILCAR_CACHE", str(tmp_path / "another-cache"))
    clouds.setenv("RAILCAR_CACHE_LIMIT_GB", "0")  # so that each image is asked for when it is needed
    clouds.setenv("RAILCAR_RETRY_S", "0")
    s3.faults.n_allowed = 30
    with pytest.raises(Unreachable) as caught:
        railcar.train(recipe, runs_dir=tmp_path / "cut", quiet=True)
    assert "everything up to step" in caught.value.what
    assert "go on with: railcar train --resume=" in caught.value.hint

    s3.faults.n_allowed = None
    cut = railcar.train(resume=True, runs_dir=tmp_path / "cut", quiet=True)
    log = RunDir(cut.path).log_path.read_text()
    assert "going on after step" in log
    assert "the data is read from there again in each epoch" in " ".join(log.split())
    expect_same_variables(RunDir(whole.path), RunDir(cut.path), N_STEPS)

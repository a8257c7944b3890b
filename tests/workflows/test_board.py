"""What a run leaves for TensorBoard at its end, and a profile of some of its steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import railcar
from railcar.errors import UsageError
from railcar.runs.run_dir import RunDir
from tests.synthetic import make_images, tiny_recipe

LIKE_IT = ["training.steps=12", "training.batch_size=8", "model.name=cnn", "model.filters=[4]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    images, labels = make_images(90)
    labels[::4] = (labels[::4] + 1) % 3  # so that there are mistakes
    recipe = tiny_recipe(steps=12, validate_every=6, checkpoint_every=6, tensorboard=True)
    folder = tmp_path_factory.mktemp("photos")
    np.savez(folder / "photos.npz", images=images, labels=labels)
    recipe["data"] = {"source": str(folder / "photos.npz"), "validation": 0.2, "test": 0.2}
    return RunDir(railcar.train(recipe, profile="4:8", runs_dir=folder / "runs", quiet=True).path)


def test_the_worst_mistakes_are_an_image_of_the_step_that_was_kept(run: RunDir):
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    [shown] = events.Tensors("mistakes")
    assert shown.step in (6, 12)
    assert "(is " in events.summary_metadata["mistakes"].summary_description


def test_the_test_side_is_in_the_projector_with_its_labels_answers_and_pictures(run: RunDir):
    folder = run.tensorboard / "projector"
    vectors = np.loadtxt(folder / "vectors.tsv", delimiter="\t", ndmin=2)
    header, *lines = [line.split("\t") for line in (folder / "metadata.tsv").read_text().splitlines()]
    assert header == ["label", "predicted", "answer", "id"]
    assert len(vectors) == len(lines) == run.read_manifest()["data"]["n_test"]
    assert all((label == predicted) == (answer == "right") for label, predicted, answer, _ in lines)
    assert len({id for *_, id in lines}) == len(lines)
    assert (folder / "sprite.png").stat().st_size > 100


def test_a_profile_is_of_the_steps_that_were_asked_for(run: RunDir):
    assert list(run.tensorboard.glob("plugins/profile/*/*.xplane.pb"))
    text = (run.path / "profile.txt").read_text()
    assert text.startswith(f"Steps 5 to 8 of {run.name}, ") and "conv1" in text
    log = run.log_path.read_text()
    assert "profile of steps 5 to 8: " in log and "railcar tensorboard" in log


@pytest.mark.parametrize(
    ("asked", "what", "hint"),
    [
        ("120:100", "there is no step between 120 and 100", "100:120"),
        ((7, 7), "there is no step between 7 and 7", "7:27"),
        ("a:b", "'a:b' is no range of steps", "FIRST:LAST"),
        ("100", "'100' is no range of steps", "FIRST:LAST"),
        ("-1:5", "'-1:5' is no range of steps", "FIRST:LAST"),
    ],
)
def test_a_profile_of_no_steps_is_refused_before_anything_is_read(
    asked: str | tuple[int, int], what: str, hint: str, tmp_path: Path
):
    with pytest.raises(UsageError) as raised:
        railcar.train("nothing/there", profile=asked, runs_dir=tmp_path, quiet=True)
    assert what in raised.value.what and hint in (raised.value.hint or "")


def test_a_profile_beyond_the_run_or_of_what_is_done_is_refused_with_what_there_is(run: RunDir):
    place = run.path.parent
    with pytest.raises(UsageError, match=r"the run has 12 steps, and 20 is beyond them"):
        railcar.train(
            run.read_manifest()["data"]["source"], profile="4:20", overrides=LIKE_IT, runs_dir=place, quiet=True
        )
    with pytest.raises(UsageError, match=r"12 steps are done already, and 4 is before that") as raised:
        railcar.train(resume=run.name, overrides=["training.steps=40"], profile="4:20", runs_dir=place, quiet=True)
    assert "--profile 20:40" in (raised.value.hint or "")
    assert [one.name for one in place.iterdir()] == [run.name]
    assert run.read_manifest()["state"] == "finished"

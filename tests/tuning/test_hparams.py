"""What TensorBoard's HParams plugin reads of a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.util.tensor_util import make_ndarray

from railcar.recipe.search import Parameter
from railcar.tuning.hparams import SHARE, has_hparams, write_experiment, write_trial
from railcar.tuning.study import FAILED, FINISHED, PRUNED, Trial

SPACE = (
    Parameter("training.optimizer.learning_rate", (1e-4, 1e-2), is_range=True, is_log=True),
    Parameter("training.batch_size", (8, 16), is_range=False),
    Parameter("model.dense", ([32], [64, 64]), is_range=False),
    Parameter("model.batch_norm", (True, False), is_range=False),
    Parameter("data.batch_size", (1, 9), is_range=True),
)
SETTINGS = {"training.optimizer.learning_rate": 0.003, "model.dense": [64, 64], "model.batch_norm": True}
ROWS = [
    {"step": 5, "loss": 0.5, "val_loss": None, "seconds": 1.0},
    {"step": 10, "loss": 0.25, "val_loss": 0.75, "seconds": 2.5},
]
Status: Any = api_pb2


def make_trial(state: str = FINISHED, value: float | None = 0.75) -> Trial:
    return Trial(3, state, SETTINGS, value, 1.0, "trial-003-x", 4.0)


def read_events(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def read_note(events: EventAccumulator, tag: str) -> Any:
    parse = {
        metadata.EXPERIMENT_TAG: metadata.parse_experiment_plugin_data,
        metadata.SESSION_START_INFO_TAG: metadata.parse_session_start_info_plugin_data,
        metadata.SESSION_END_INFO_TAG: metadata.parse_session_end_info_plugin_data,
    }
    return parse[tag](events.summary_metadata[tag].plugin_data.content)


def test_what_is_open_is_told_with_its_values_and_a_name_that_no_other_has(tmp_path: Path) -> None:
    write_experiment(tmp_path, SPACE, "val_loss", began_s=1e9)
    experiment = read_note(read_events(tmp_path), metadata.EXPERIMENT_TAG)

    rate, size, dense, norm, _ = experiment.hparam_infos
    assert (rate.name, rate.display_name) == ("training.optimizer.learning_rate", "learning_rate")
    assert (rate.domain_interval.min_value, rate.domain_interval.max_value) == (1e-4, 1e-2)
    assert (size.display_name, list(size.domain_discrete)) == ("training.batch_size", [8, 16])
    assert list(dense.domain_discrete) == ["[32]", "[64, 64]"]
    assert list(norm.domain_discrete) == [True, False]
    assert [one.name.tag for one in experiment.metric_infos] == ["search/best_val_loss", SHARE]


def test_a_trial_has_its_settings_curves_and_value(tmp_path: Path) -> None:
    assert not has_hparams(tmp_path)
    write_trial(tmp_path, make_trial(), "val_loss", ROWS, began_s=1e9)
    events = read_events(tmp_path)
    start = read_note(events, metadata.SESSION_START_INFO_TAG)

    assert has_hparams(tmp_path)
    assert start.hparams["training.optimizer.learning_rate"].number_value == pytest.approx(0.003)
    assert start.hparams["model.dense"].string_value == "[64, 64]"
    assert start.hparams["model.batch_norm"].bool_value is True
    points = {tag: events.Tensors(tag) for tag in events.Tags()["tensors"] if not tag.startswith("_hparams_")}
    read = {tag: [(one.step, float(make_ndarray(one.tensor_proto))) for one in found] for tag, found in points.items()}
    assert read == {
        "train/loss": [(5, 0.5), (10, 0.25)],
        "validation/loss": [(10, 0.75)],
        "search/best_val_loss": [(10, 0.75)],
        SHARE: [(10, 1.0)],
    }
    assert points["train/loss"][1].wall_time == 1e9 + 2.5
    assert read_note(events, metadata.SESSION_END_INFO_TAG).end_time_secs == 1e9 + 4


@pytest.mark.parametrize(
    ("state", "status"), [(FINISHED, "STATUS_SUCCESS"), (PRUNED, "STATUS_SUCCESS"), (FAILED, "STATUS_FAILURE")]
)
def test_how_a_trial_ended_is_told_also_without_a_value(tmp_path: Path, state: str, status: str) -> None:
    write_trial(tmp_path, make_trial(state, None), "val_loss", [], began_s=1e9)
    end = read_note(read_events(tmp_path), metadata.SESSION_END_INFO_TAG)
    assert end.status == getattr(Status, status)

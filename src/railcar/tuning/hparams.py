"""A search as TensorBoard's HParams tab shows it: what is open, and of each trial its settings, its curves, what it
reached and how it ended.

Owns event files that are written at once, as a whole, by TensorBoard's own messages: the process of a search has no
TensorFlow. Training's own event files are `training/summaries.py`'s.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.scalar import metadata as scalars
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from railcar.recipe.search import Parameter
from railcar.runs.tags import TAGS
from railcar.storage.local import write_atomic
from railcar.tuning.study import FAILED, Trial

SHARE = "search/share"
"""Tag of how much of its training a trial made: below 1 it was given up."""
_FILE = "events.out.tfevents.0.railcar"
_SCALAR = scalars.create_summary_metadata(display_name=None, description=None)

Row = Mapping[str, Any]
# Their classes are made at import, which no type checker sees.
Events: Any = event_pb2
Summaries: Any = summary_pb2
Api: Any = api_pb2
Plugin: Any = plugin_data_pb2


def has_hparams(folder: Path) -> bool:
    """Whether `write_experiment` or `write_trial` wrote into this folder."""
    return (folder / _FILE).is_file()


def write_experiment(folder: Path, space: Sequence[Parameter], measure: str, *, began_s: float) -> None:
    """Write into `folder` what is open in a search, and by what its trials are measured."""
    experiment = Api.Experiment(
        description="railcar tune",
        time_created_secs=began_s,
        hparam_infos=[_describe(one, space) for one in space],
        metric_infos=[
            Api.MetricInfo(name=Api.MetricName(tag=name), display_name=shown)
            for name, shown in ((_name_best(measure), f"best {measure}"), (SHARE, "share trained"))
        ],
    )
    _write(folder, began_s, [(0, began_s, _note(metadata.EXPERIMENT_TAG, experiment=experiment))])


def write_trial(folder: Path, trial: Trial, measure: str, rows: Sequence[Row], *, began_s: float) -> None:
    """Write into `folder`, which TensorBoard shows as a run, a trial that has ended; `rows` are those of its
    metrics.jsonl."""
    start = Plugin.SessionStartInfo(start_time_secs=began_s)
    for key, value in trial.settings.items():
        setting = start.hparams[key]
        if isinstance(value, bool):
            setting.bool_value = value
        elif isinstance(value, int | float):
            setting.number_value = value
        else:
            setting.string_value = _to_text(value)
    status = Api.STATUS_FAILURE if trial.state == FAILED else Api.STATUS_SUCCESS
    ended_s = began_s + trial.seconds
    end = Plugin.SessionEndInfo(status=status, end_time_secs=ended_s)
    last = max((row["step"] for row in rows), default=0)
    reached = {_name_best(measure): trial.value, SHARE: trial.share}
    curves = [(row["step"], began_s + (row.get("seconds") or 0.0), _plot(row)) for row in rows]
    _write(
        folder,
        began_s,
        [
            (0, began_s, _note(metadata.SESSION_START_INFO_TAG, session_start_info=start)),
            *curves,
            (last, ended_s, _to_summary(reached)),
            (last, ended_s, _note(metadata.SESSION_END_INFO_TAG, session_end_info=end)),
        ],
    )


def _name_best(measure: str) -> str:
    return f"search/best_{measure}"


def _describe(one: Parameter, space: Sequence[Parameter]) -> Any:
    """A short name, where no other has the same, and the values that it may have."""
    short = one.key.rpartition(".")[2]
    is_alone = sum(other.key.rpartition(".")[2] == short for other in space) == 1
    info = Api.HParamInfo(name=one.key, display_name=short if is_alone else one.key)
    if one.is_range:
        info.type = Api.DATA_TYPE_FLOAT64
        info.domain_interval.min_value, info.domain_interval.max_value = one.values
    elif all(isinstance(value, bool) for value in one.values):
        info.type = Api.DATA_TYPE_BOOL
        info.domain_discrete.extend(list(one.values))
    elif all(isinstance(value, int | float) for value in one.values):
        info.type = Api.DATA_TYPE_FLOAT64
        info.domain_discrete.extend(list(one.values))
    else:
        info.type = Api.DATA_TYPE_STRING
        info.domain_discrete.extend([_to_text(value) for value in one.values])
    return info


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plot(row: Row) -> Any:
    return _to_summary({tag: row.get(key) for key, tag in TAGS.items()})


def _to_summary(values: Mapping[str, float | None]) -> Any:
    known = {tag: value for tag, value in values.items() if value is not None}
    return Summaries.Summary(
        value=[_to_value(tag, _SCALAR, make_tensor_proto(one, dtype="float32")) for tag, one in known.items()]
    )


def _note(tag: str, **content: Any) -> Any:
    about = metadata.create_summary_metadata(Plugin.HParamsPluginData(**content))
    return Summaries.Summary(value=[_to_value(tag, about, metadata.NULL_TENSOR)])


def _to_value(tag: str, about: Any, tensor: Any) -> Any:
    return Summaries.Summary.Value(tag=tag, metadata=about, tensor=tensor)


def _write(folder: Path, began_s: float, summaries: Iterable[tuple[int, float, Any]]) -> None:
    """Step, seconds since 1970 and content of each event."""
    folder.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    records = RecordWriter(content)
    records.write(Events.Event(wall_time=began_s, file_version="brain.Event:2").SerializeToString())
    for step, wall_time, summary in summaries:
        records.write(Events.Event(wall_time=wall_time, step=step, summary=summary).SerializeToString())
    write_atomic(folder / _FILE, content.getvalue())

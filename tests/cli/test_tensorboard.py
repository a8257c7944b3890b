"""`railcar tensorboard` as a server: address, ports, several runs, a search, what comes meanwhile, a quiet end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from railcar.cli.main import main
from railcar.recipe.search import Parameter
from railcar.runs.run_dir import RunDir, write_json
from railcar.training.projector import write_projector
from railcar.training.summaries import Summaries
from railcar.tuning.study import FINISHED, Trial
from railcar.workflows.tune_board import show_in_tensorboard

T = TypeVar("T")


def make_run(runs_dir: Path, name: str) -> RunDir:
    run = RunDir.create(runs_dir, name)
    with Summaries(run.tensorboard) as summaries:
        summaries.scalars(1, {"train/loss": 0.5})
    return run


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(runs_dir: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "railcar", "tensorboard", *arguments, "--runs-dir", str(runs_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    try:
        yield process.stdout.readline().strip() if process.stdout else "", process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ask(url: str, path: str, question: Any = None, **query: str) -> bytes:
    content = None if question is None else json.dumps(question).encode()
    address = f"{url}data/{path}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return reply.read()


def wait_for(read: Callable[[], T], is_there: Callable[[T], object]) -> T:
    """Asks until it is there: TensorBoard reads in the background."""
    found, end = read(), time.monotonic() + 60
    while not is_there(found) and time.monotonic() < end:
        time.sleep(0.1)
        found = read()
    return found


def read_runs(url: str, n_expected: int) -> list[str]:
    return wait_for(lambda: json.loads(ask(url, "runs")), lambda names: len(names) >= n_expected)


def test_it_shows_a_run_that_goes_on_and_ends_quietly(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "mnist")
    port = find_free_port()
    with Summaries(run.tensorboard) as summaries:
        summaries.scalars(1, {"train/loss": 0.5})
        summaries.flush()
        with serving(tmp_path, "--port", str(port)) as (url, process):
            assert url == f"http://127.0.0.1:{port}/"
            assert read_runs(url, 1) == ["."]

            def read_points() -> list[Any]:
                return json.loads(ask(url, "plugin/scalars/scalars", tag="train/loss", run="."))

            assert [step for _, step, _ in read_points()] == [1]
            summaries.scalars(2, {"train/loss": 0.25})
            assert [row[1:] for row in wait_for(read_points, lambda rows: len(rows) > 1)] == [[1, 0.5], [2, 0.25]]
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)

    assert process.returncode == 0
    assert said.split("\n") == ["Ctrl-C ends it", "", "ended", ""]


def test_a_taken_port_gives_way_to_the_next_free_one(tmp_path: Path) -> None:
    make_run(tmp_path, "mnist")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        with serving(tmp_path, "--port", str(taken)) as (url, process):
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)

    assert url != f"http://127.0.0.1:{taken}/"
    assert f"port {taken} is taken, using" in said


def test_several_runs_are_served_under_their_names_with_mistakes_and_projector(tmp_path: Path) -> None:
    first, second = (make_run(tmp_path, name) for name in ("one", "two"))
    images, labels = np.zeros((4, 6, 6, 1), np.uint8), np.array([0, 1, 0, 1])
    vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
    with Summaries(second.tensorboard) as summaries:
        summaries.mistakes(images, labels, 1 - labels, ["cat", "dog"], step=3)
    write_projector(second.tensorboard, vectors, {"label": labels.tolist(), "id": list("abcd")}, images)
    with serving(tmp_path, "one", "two", "--port", str(find_free_port())) as (url, _):
        assert sorted(read_runs(url, 2)) == sorted([first.name, second.name])
        [shown] = json.loads(ask(url, "plugin/images/images", run=second.name, tag="mistakes", sample="0"))
        picture = ask(url, "plugin/images/individualImage", **dict(urllib.parse.parse_qsl(shown["query"])))
        assert shown["step"] == 3 and int.from_bytes(picture[16:20]) == 12
        plugin, of = "plugin/projector", {"run": second.name, "name": "what the last layer is given"}
        assert json.loads(ask(url, f"{plugin}/runs")) == [second.name]
        [told] = json.loads(ask(url, f"{plugin}/info", run=second.name))["embeddings"]
        assert (told["tensorShape"], told["sprite"]["singleImageDim"]) == ([4, 2], [6, 6])
        sent = np.frombuffer(ask(url, f"{plugin}/tensor", **of), np.float32)
        np.testing.assert_allclose(sent, vectors.ravel())
        assert ask(url, f"{plugin}/metadata", **of).decode().splitlines()[:2] == ["label\tid", "0\ta"]
        assert ask(url, f"{plugin}/sprite_image", **of).startswith(b"\x89PNG")


def end_trial(search: Path, trials: list[Trial], space: list[Parameter]) -> None:
    """One more trial of a search, as `railcar tune` keeps it."""
    number = len(trials)
    run = RunDir.create(search / "trials", f"trial-{number:03d}")
    run.append_metrics({"step": 5, "loss": 1.0, "val_loss": 0.5 - number / 10, "seconds": 1.0})
    settings = {"training.batch_size": 8 * (number + 1)}
    trials.append(Trial(number, FINISHED, settings, 0.5 - number / 10, 1.0, run.name, 2.0))
    show_in_tensorboard(search, trials, space, "val_loss")


def test_a_search_has_its_trials_in_the_hparams_tab_also_those_that_end_later(tmp_path: Path) -> None:
    search, trials = tmp_path / "rows-tune-1", []
    space = [Parameter("training.batch_size", (8, 64), is_range=True)]
    search.mkdir()
    write_json(search / "study.json", {})
    end_trial(search, trials, space)
    question = {
        "experimentName": "",
        "startIndex": 0,
        "sliceSize": 9,
        "allowedStatuses": ["STATUS_SUCCESS"],
        "colParams": [{"metric": {"tag": "search/best_val_loss"}}],
    }
    with serving(tmp_path, "--search", "--port", str(find_free_port())) as (url, _):
        assert sorted(read_runs(url, 2)) == ["search", "trial-000"]
        experiment = json.loads(ask(url, "plugin/hparams/experiment", {"experimentName": ""}))
        assert [one["displayName"] for one in experiment["hparamInfos"]] == ["batch_size"]

        def read_groups() -> list[Any]:
            return json.loads(ask(url, "plugin/hparams/session_groups", question))["sessionGroups"]

        end_trial(search, trials, space)
        groups = wait_for(read_groups, lambda groups: len(groups) > 1 and all(one["metricValues"] for one in groups))

    shown = {one["name"]: (one["hparams"], one["metricValues"][0]["value"]) for one in groups}
    assert shown == {
        "trial-000": ({"training.batch_size": 8.0}, 0.5),
        "trial-001": ({"training.batch_size": 16.0}, pytest.approx(0.4)),
    }


def test_a_search_that_is_not_there_or_stands_beside_runs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tensorboard", "--search=none", "--runs-dir", str(tmp_path)]) == 1
    assert "there is no search called none" in capsys.readouterr().err
    assert main(["tensorboard", "some", "--search=none", "--runs-dir", str(tmp_path)]) == 2
    assert "leave the runs out" in capsys.readouterr().err


def test_a_run_without_event_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunDir.create(tmp_path, "mnist")

    assert main(["tensorboard", "--runs-dir", str(tmp_path)]) == 1
    assert "training.tensorboard=true" in capsys.readouterr().err

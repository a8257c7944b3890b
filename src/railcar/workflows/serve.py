"""`serve`: models of runs, artifacts and exports behind HTTP, until it is told to end."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from railcar.artifact.artifact import Artifact, read_artifact
from railcar.errors import ArtifactError, NotFound, OutputError, UsageError
from railcar.registry import ENGINES, check_installed
from railcar.runs.place import open_run
from railcar.serving.engines import Engine, SmallEngine, TensorFlowEngine
from railcar.serving.spec import Spec
from railcar.storage.local import expand_home
from railcar.training.tensorflow import import_tensorflow, quiet_stderr
from railcar.workflows.convert import find_converted, read_choice

if TYPE_CHECKING:
    from railcar.serving.models import Model

_STAMP = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}$")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_NEEDED = {"uvicorn": "uvicorn", "httptools": "httptools", "python_multipart": "python-multipart"}
_MARKS = ("model.json", "artifact.json")


def serve(
    sources: Sequence[str | Path] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    token: str | None = None,
    allow_hosts: Sequence[str] = (),
    engine: str = "auto",
    max_batch: int = 32,
    queue: int = 512,
    timeout_s: float = 30.0,
    max_body: int = 32 << 20,
    access_log: str | Path | None = None,
    trust: bool = False,
    runs_dir: str | Path = "runs",
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve models until SIGTERM or Ctrl-C; what has been asked by then is answered.

    `sources` are runs, artifacts, exports or folders of their versions (`exports/RUN/litert`), each with a name before
    an equals sign where its own does not suit: `digits=mnist-2026`; or a folder of such folders; none: the
    newest run. `say` is given a line for each model that is ready, and for what happens later.

    Raises `UsageError` for words that do not go together, `NotFound` for a source that is not there, `ArtifactError`
    for one that cannot be used, and `OutputError` for an address that is taken.
    """
    for module, package in (
        ("uvicorn", "uvicorn"),
        ("simdjson", "pysimdjson"),
        ("python_multipart", "python-multipart"),
    ):
        check_installed(module, package=package, extra="serve", needed_for="railcar serve")
    from railcar.serving.guarding import LOOPBACK_NAMES, is_loopback

    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}", hint=f"engines are: {', '.join(ENGINES)}")
    if not is_loopback(host) and not token:
        raise UsageError(
            f"--host {host}: others can reach it, so a token is needed",
            hint="put a secret of yours into RAILCAR_TOKEN, or add --token; or leave --host out",
        )
    opener = Opener(engine, trust, say)
    found = find_sources(sources, runs_dir, opener)
    names = [*LOOPBACK_NAMES, host, *allow_hosts] if is_loopback(host) else [*allow_hosts]
    if allow_hosts and not is_loopback(host):
        names += [host, *LOOPBACK_NAMES]
    limits = {"max_batch": max_batch, "max_waiting": queue}
    with ExitStack() as stack:
        log = _open_log(access_log, stack)
        settings = {"token": token, "hosts": names, "timeout_s": timeout_s, "max_body": max_body, "log": log}
        asyncio_run = _choose_loop()
        asyncio_run(_serve(found, host, port, limits, settings, say))


def _choose_loop() -> Callable[..., Any]:
    try:
        import uvloop

        return uvloop.run
    except ImportError:
        return asyncio.run


async def _serve(
    sources: list[Any],
    host: str,
    port: int,
    limits: dict[str, int],
    settings: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    from railcar.serving.app import App, Limits
    from railcar.serving.guarding import Guard
    from railcar.serving.http import bind, build_server
    from railcar.serving.metrics import Metrics
    from railcar.serving.models import Model, Models
    from railcar.serving.pool import Pool

    try:
        listener = bind(host, port)
    except OSError as error:
        raise OutputError(
            f"{host}:{port}: cannot be listened on: {error.strerror or error}",
            hint="choose another with --port; --port 0 takes one that is free",
        ) from error
    metrics = Metrics()
    pool = Pool()
    models = Models([Model(one, metrics, pool, say=say, **limits) for one in sources])
    try:
        for one in models.by_name.values():
            await one.refresh()
            if one.current is None:
                raise _tell_fault(one)
        guard = Guard(settings["hosts"], settings["token"])
        kept = Limits(max_body=settings["max_body"], timeout_s=settings["timeout_s"])
        app = App(models, guard, metrics, limits=kept, log=settings["log"])
        server = build_server(app, lambda: setattr(app, "is_leaving", True))
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        for one in models.by_name.values():
            if one.current is not None:
                say(f"serving {one.name} ({one.current.engine.name}) at {address}")
        # What has been made until now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        watcher = asyncio.create_task(models.watch())
        try:
            await server.serve(sockets=[listener])
        finally:
            watcher.cancel()
    finally:
        models.close()
        pool.close()
        listener.close()


def _tell_fault(model: Model) -> ArtifactError:
    """Why none of its versions could be loaded."""
    for fault in model.faults.values():
        mend = fault.hint or "export it anew: railcar export"
        return ArtifactError(f"{model.name}: {fault.what}", hint=f"serve another version, or {mend}")
    what = f"{model.source.folder}: no version is there"
    return ArtifactError(f"{model.name}: {what}", hint="export one: railcar export")


def _open_log(path: str | Path | None, stack: ExitStack) -> Callable[[dict[str, Any]], None] | None:
    """A JSON line for each request, to a file, or to stderr for "-"."""
    if path is None:
        return None
    if str(path) == "-":
        stream: Any = sys.stderr
    else:
        try:
            stream = stack.enter_context(expand_home(path).open("a", encoding="utf-8", buffering=1))
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror}", hint="choose another file with --access-log") from error
    return lambda row: print(json.dumps(row, ensure_ascii=False), file=stream)


class Opener:
    """Opens versions: an export as it is, an artifact by way of the cache."""

    def __init__(self, engine: str, trust: bool, say: Callable[[str], None]) -> None:
        self._engine, self._trust, self._say = engine, trust, say

    def __call__(self, folder: Path) -> Engine:
        found = self.choose(folder)
        return _open_tensorflow(found) if isinstance(found, Artifact) else open_small(found)

    def choose(self, folder: Path) -> Path | Artifact:
        """What is to be opened: the folder of a model for a small runtime, or the artifact, which only TensorFlow
        holds."""
        if (folder / "model.json").is_file():
            return folder
        artifact = read_artifact(folder, trust=self._trust)
        if self._engine == "tensorflow":
            return artifact
        converted = find_converted(artifact, self._say)
        engine, reason = read_choice(converted)
        if self._engine != "auto":
            engine = self._engine
            if not (converted / engine).is_dir():
                raise ArtifactError(f"{folder}: not to be served by {engine}: {reason}", hint="leave --engine out")
        return artifact if engine == "tensorflow" else converted / engine / "1"


def _open_tensorflow(artifact: Artifact) -> Engine:
    import_tensorflow(needed_for="serving")
    from railcar.serving.predictor import Predictor

    with quiet_stderr():
        return TensorFlowEngine(Predictor(artifact), _spec_of(artifact))


def open_small(folder: Path) -> Engine:
    with quiet_stderr():  # LiteRT tells of itself when it is loaded
        return SmallEngine(folder)


def _spec_of(artifact: Artifact) -> Spec:
    """Of an artifact that no small runtime holds."""
    from railcar.serving.spec import read_spec

    about: dict[str, Any] = {
        "kind": artifact.kind,
        "task": artifact.task,
        "labels": list(artifact.class_names) if artifact.task != "regression" else [],
        "metrics": artifact.manifest.get("metrics"),
    }
    about |= {key: artifact.manifest.get(key) for key in ("run", "checkpoint", "data_fingerprint")}
    if artifact.kind == "image":
        height, width, channels = artifact.image_shape
        fit = artifact.features.get("fit", "stretch")
        about |= {
            "input": {"shape": [None, height, width, channels], "dtype": "uint8"},
            "channels": channels,
            "resizes": [[height, width, fit]],
        }
    elif artifact.kind == "table":
        about["encoding"] = {"columns": artifact.encoding["columns"]}
    return read_spec(about)


def find_sources(words: Sequence[str | Path], runs_dir: str | Path, load: Callable[[Path], Engine]) -> list[Any]:
    """A `Source` for each. Raises `UsageError`, `NotFound` and `ArtifactError`."""
    from railcar.serving.models import Source

    found: list[Source] = []
    for one in itertools.chain.from_iterable(_list_models(str(word)) for word in words or [""]):
        name, folder, is_single = _find_source(one, runs_dir)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "model"
        found.append(Source(name, folder, load, is_single))
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two models are called {twice!r}", hint=f"name them: one={twice} another=...")
    return found


def _list_models(word: str) -> list[str]:
    """Of a folder that has models in its folders (models/digits/litert/1, models/sms/1), those; else `word` itself."""
    folder = expand_home(word) if word else None
    if folder is None or not folder.is_dir() or _is_model(folder) or (folder / "artifact").is_dir():
        return [word]
    with suppress(OSError):
        return [str(one) for one in sorted(folder.iterdir()) if one.is_dir() and _is_model(one)] or [word]
    return [word]


def _is_model(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _MARKS) or _find_versions(folder) is not None


def _find_source(word: str, runs_dir: str | Path) -> tuple[str, Path, bool]:
    """(name, folder, whether it is a single version)."""
    given = ""
    before, equals, after = word.partition("=")
    if equals and _NAME.fullmatch(before) and not Path(word).exists():
        given, word = before, after
    folder = expand_home(word) if word else None
    if folder is not None and folder.is_dir():
        if any((folder / mark).is_file() for mark in _MARKS):
            return given or _name_folder(folder), folder, True
        if (folder / "saved_model.pb").is_file():
            raise UsageError(
                f"{folder}: a SavedModel is for TensorFlow Serving",
                hint="serve the run that it was made of, or an export of --format litert or onnx",
            )
        if versions := _find_versions(folder):
            return given or _name_folder(versions), versions, False
    try:
        run = open_run(word or None, runs_dir)
    except NotFound as error:
        if folder is None or not folder.is_dir():
            raise
        raise NotFound(
            f"{folder}: no model is there", hint="make one with: railcar export --format litert --output FOLDER"
        ) from error
    if not (run.artifact / "artifact.json").is_file():
        raise NotFound(f"{run.path}: no artifact is there", hint=f"make it with: railcar evaluate {run.name}")
    return given or _STAMP.sub("", run.name), run.artifact, True


def _find_versions(folder: Path) -> Path | None:
    """`folder`, or the one of litert and onnx in it, when it has folders of whole numbers with models in them."""
    for place in (folder, folder / "litert", folder / "onnx"):
        with suppress(OSError):
            if any(one.name.isdecimal() and any((one / mark).is_file() for mark in _MARKS) for one in place.iterdir()):
                return place
    return None


def _name_folder(folder: Path) -> str:
    """exports/digits-20261130-101500-3f2a/litert/1 -> digits."""
    parts = [
        one for one in folder.absolute().parts if not one.isdecimal() and one not in ("litert", "onnx", "artifact")
    ]
    return _STAMP.sub("", parts[-1]) if len(parts) > 1 else "model"

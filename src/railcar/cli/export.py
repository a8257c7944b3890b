"""`railcar export`: parse, call `workflows.export`, print what was written."""

from __future__ import annotations

from pathlib import Path

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, runs_dir_option, trust_option
from railcar.cli.text import format_size, format_table
from railcar.errors import UsageError
from railcar.exporting.names import FORMATS

_NEXT = {
    "keras": "import railcar.layers.all, keras; keras.saving.load_model('{path}/model.keras')",
    "saved_model": "tensorflow_model_server --model_name=model --model_base_path={folder}",
    "litert": "python {path}/model.py INPUT",
    "onnx": "python {path}/model.py INPUT",
}


@click.command()
@click.argument("run", required=False)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(list(FORMATS)),
    help="Which; may be given several times. saved_model when absent.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where: DIR/FORMAT/VERSION. exports/RUN when absent.",
)
@click.option("--int8", is_flag=True, help="With --format litert: 8-bit integers, and what they cost is measured.")
@click.option(
    "--artifact", type=click.Path(path_type=Path), metavar="DIR", help="The folder of an artifact, in place of a run."
)
@trust_option
@runs_dir_option
@common_options(json=True)
def command(
    run: str | None,
    formats: tuple[str, ...],
    output: Path | None,
    int8: bool,
    artifact: Path | None,
    trust: bool,
    runs_dir: Path | str,
    console: Console,
) -> None:
    """Write the model of RUN (a name, a unique prefix or a folder; the newest if not given) for other runtimes.

    Each is loaded again and compared with the run's model on twenty of its examples before it gets its number.
    """
    from railcar.workflows.export import export

    if run is not None and artifact is not None:
        raise UsageError("RUN and --artifact exclude each other", hint="give one of the two")
    made = export(
        run,
        formats=tuple(dict.fromkeys(formats)) or ("saved_model",),
        output=output,
        artifact=artifact,
        int8=int8,
        trust=trust,
        runs_dir=runs_dir,
        quiet=console.quiet,
        verbose=console.verbose,
        color=console.color,
    )
    if console.json:
        console.json_result([one.to_dict() for one in made])
        return
    rows = [["format", "size", "differs by", "path"]]
    for one in made:
        rows.append([one.format, format_size(one.n_bytes), f"{one.difference:.1g}", str(one.path)])
    lines = [format_table(rows, right_from=99)]
    lines += [_describe_accuracy(one.accuracy) for one in made if one.accuracy]
    lines += [f"next  {_NEXT[one.format].format(path=one.path, folder=one.path.parent.absolute())}" for one in made]
    console.result("\n".join(lines))


def _describe_accuracy(found: dict[str, float]) -> str:
    n = int(found["examples"])
    if "error" in found:
        return f"8-bit integers: error {found['error']:.4g}, before {found['error_before']:.4g}, of {n:,} test examples"
    return (
        f"8-bit integers: {found['accuracy']:.2%} right, before {found['accuracy_before']:.2%}, of {n:,} test examples"
    )

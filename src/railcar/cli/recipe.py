"""`railcar recipe`: list, show, check, export, schema. Thin: the work is done in `railcar.recipe`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from railcar.cli.console import Console
from railcar.cli.options import common_options, set_option


def _complete_recipe(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    from railcar.recipe.bundled import bundled_recipes

    names = [CompletionItem(name) for name in bundled_recipes() if name.startswith(incomplete)]
    # A shell that is told to complete files forgets the names.
    return names or [CompletionItem(incomplete, type="file")]


recipe_argument = click.argument("recipe", metavar="RECIPE", shell_complete=_complete_recipe)


@click.group()
def command() -> None:
    """List, show and check recipes.

    A recipe is a YAML file that says what to train, on what, and how. RECIPE is the name of a bundled one or the path
    of a .yaml or .py file.
    """


@command.command("list")
@click.option("--models", is_flag=True, help="The networks that `model.name` may name, instead.")
@common_options(json=True)
def list_(models: bool, console: Console) -> None:
    """List the bundled recipes, by name."""
    if models:
        from railcar.registry import MODELS

        rows = {name: MODELS[name].summary for name in MODELS}
    else:
        from railcar.recipe.bundled import bundled_recipes

        rows = {name: _first_comment(path) for name, path in bundled_recipes().items()}
    if console.json:
        console.json_result([{"name": name, "summary": summary} for name, summary in rows.items()])
        return
    width = max(map(len, rows), default=0)
    for name, summary in rows.items():
        console.result(f"{name:{width}}  {summary}".rstrip())


def _first_comment(path: Path) -> str:
    for line in path.read_text(encoding="utf-8").splitlines():
        if text := line.lstrip("# ").strip():
            return text if line.startswith("#") else ""
    return ""


@command.command()
@recipe_argument
@set_option
@click.option("--full", is_flag=True, help="Every key with its value, defaults too.")
@common_options(json=True)
def show(recipe: str, overrides: tuple[str, ...], full: bool, console: Console) -> None:
    """Print a recipe: its file with its comments, or every key of it."""
    from railcar.recipe.load import find_recipe, load_recipe
    from railcar.recipe.writing import recipe_to_yaml

    path = find_recipe(recipe)
    if console.json:
        console.json_result(load_recipe(path, overrides).model_dump(mode="json"))
    elif full or overrides or path.suffix == ".py":
        console.result(recipe_to_yaml(load_recipe(path, overrides)).rstrip("\n"))
    else:
        from railcar.recipe.load import read_recipe_text

        console.result(read_recipe_text(path).rstrip("\n"))


@command.command()
@recipe_argument
@set_option
@common_options(json=True)
def check(recipe: str, overrides: tuple[str, ...], console: Console) -> int:
    """Check a recipe, and report all its faults at once.

    Nothing is read but the recipe: whether the data is there and fits is found out by `railcar train`.
    """
    from railcar.errors import RecipeError
    from railcar.recipe.load import load_search

    try:
        load_search(recipe, overrides)
    except RecipeError as error:
        if console.json:
            console.json_result({"recipe": recipe, "ok": False, "faults": _faults_as_json(error)})
            return error.exit_status
        raise
    if console.json:
        console.json_result({"recipe": recipe, "ok": True, "faults": []})
    else:
        console.result(f"{recipe}: ok")
    return 0


def _faults_as_json(error: Any) -> list[dict[str, str]]:
    if not error.faults:
        return [{"where": "", "key": "", "what": error.what, "hint": error.hint}]
    return [{"where": fault.where, "key": fault.key, "what": fault.what, "hint": fault.hint} for fault in error.faults]


@command.command()
@recipe_argument
@set_option
@click.option("--to", type=click.Choice(["skypilot"]), default="skypilot", show_default=True, help="Whose task.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="A folder for all that the task needs; NAME-skypilot when absent.",
)
@common_options()
def export(recipe: str, overrides: tuple[str, ...], to: str, output: Path | None, console: Console) -> None:
    """Write a recipe as a task of SkyPilot's: other clouds, Kubernetes, Slurm, several machines."""
    from railcar.recipe.load import load_recipe
    from railcar.workflows.export_recipe import export_to_skypilot

    folder = output or Path(f"{load_recipe(recipe, overrides).name}-{to}")
    path = export_to_skypilot(recipe, overrides, folder)
    console.result(f"{path}\nnext  sky launch {path}")


@command.command()
@common_options()
def schema(console: Console) -> None:
    """Print the JSON Schema of a recipe, from which editors complete and check."""
    from railcar.recipe.reference import build_json_schema

    console.result(json.dumps(build_json_schema(), indent=2))

"""Writes docs/reference/ from the code: commands from click, recipe keys from the schema, Python from docstrings, bad
inputs from the table of their tests.

    python docs/generate_reference.py            write the pages
    python docs/generate_reference.py --check    write nothing; exit status 1, naming each page that is not fresh

Imports the command files and the schema, but neither TensorFlow nor what lies behind the Python interface: its
signatures and docstrings are read from the source.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

import railcar
from railcar.cli.main import COMMANDS
from railcar.cli.main import railcar as railcar_command
from railcar.recipe.document import dotted, write_flow
from railcar.recipe.reference import field_docs, list_keys
from railcar.recipe.schema import Node, Recipe

FOLDER = Path(__file__).resolve().parent / "reference"
SOURCE = Path(railcar.__file__).resolve().parent
NOTICE = "<!-- Made by docs/generate_reference.py from the code: change it there. -->"


# ---- commands


COMMANDS_INTRODUCTION = """\
Results go to stdout; progress, notes and errors to stderr. An error is a line `error: ...` and mostly a line
`hint: ...` that mends it; `--verbose` shows the traceback too. The exit status is 0 when it is done, 1 when it failed,
2 when the words or the recipe are wrong, 130 after Ctrl-C and 143 after SIGTERM."""


def write_commands() -> str:
    """The page of all commands."""
    parts = [
        NOTICE,
        "# Commands",
        COMMANDS_INTRODUCTION,
    ]
    context = click.Context(railcar_command, info_name="railcar", **railcar_command.context_settings)
    parts += _command_section(railcar_command, context, level=2)
    parts += ["Commands:", _table(("Command", "What it does"), _command_rows())]
    for name in COMMANDS:
        command = importlib.import_module(f"railcar.cli.{name}").command
        parts += _with_subcommands(name, command, context, level=2)
    return "\n\n".join(parts) + "\n"


def _command_rows() -> list[tuple[str, str]]:
    return [(f"[`railcar {name}`](#railcar-{name})", summary) for name, summary in COMMANDS.items()]


def _with_subcommands(name: str, command: click.Command, parent: click.Context, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield from _command_section(command, context, level)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from _with_subcommands(below, command.commands[below], context, level + 1)


def _command_section(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}"
    yield f"```\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```"
    if command.help:
        yield _prose(command.help)
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    yield _table(("Option", "What it does"), [_option_row(option, context) for option in options if not option.hidden])


def _prose(text: str) -> str:
    """A help text as Markdown: click's mark for paragraphs that keep their lines becomes a code block."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(f"```\n{part[2:]}\n```" if part.startswith("\b\n") else part for part in paragraphs)


def _option_row(option: click.Option, context: click.Context) -> tuple[str, str]:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    value = "" if option.is_flag or option.count else f" `{option.make_metavar(context)}`"
    notes = [option.help or ""]
    if option.show_default:
        notes.append(f"Default: `{option.get_default(context, call=False)}`.")
    if option.envvar:
        notes.append(f"Environment variable: `{option.envvar}`.")
    return names + value, " ".join(notes)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# ---- recipe


RECIPE_INTRODUCTION = """\
A recipe is a YAML file, or a Python file that defines `recipe` as a dict or as a `railcar.Recipe`. Every key may be
left out. `railcar recipe check FILE` reports all faults of a file at once; `railcar recipe schema` prints the JSON
Schema, from which editors complete and check.

`--set KEY=VALUE` changes one key for one command, as in `--set training.batch_size=256` or
`--set "model.filters=[16, 32]"`. The value is read as YAML; keys that do not exist are refused. `training.steps` and
`training.epochs` are two ways to say one thing: setting one of them with `--set` unsets the other.

Of YAML, a recipe takes mappings, lists, text, numbers, `true`, `false` and `null`. `yes`, `no`, `on` and `off` are
text, `1e-4` is a number; tags, anchors and aliases are refused."""


def write_recipe() -> str:
    """The page of all keys of a recipe."""
    parts = [NOTICE, "# Recipe", RECIPE_INTRODUCTION]
    keys = list_keys()
    nodes: list[tuple[str, type[Node]]] = [("", Recipe)]
    nodes += [(key, info.node) for key, info in keys.items() if info.node is not None]
    for above, node in nodes:
        docs = field_docs(node)
        rows: list[tuple[str, ...]] = []
        for name in node.model_fields:
            info = keys[f"{above}.{name}" if above else name]
            if info.node is None:
                rows.append((f"`{name}`", info.type, f"`{write_flow(info.default)}`", docs[name]))
            else:
                rows.append(
                    (f"`{name}`", f"keys of its own: [{dotted(info.path)}](#{_anchor(info.path)})", "", docs[name])
                )
        parts += [f"## {above or 'At the top'}", inspect.cleandoc(node.__doc__ or "")]
        parts.append(_table(("Key", "Value", "Default", "Meaning"), rows))
    return "\n\n".join(parts) + "\n"


def _anchor(path: tuple[str, ...]) -> str:
    return "".join(path)


# ---- Python


def write_api() -> str:
    """The page of what `import railcar` gives."""
    parts = [NOTICE, "# Python", inspect.cleandoc(railcar.__doc__ or "")]
    for name in sorted(railcar.__all__, key=str.lower):
        if name == "__version__":
            parts += ["## `railcar.__version__`", "The version, a string."]
            continue
        definition = find_definition(railcar._HOMES[name], name)
        parts += _definition_section(name, definition)
    return "\n\n".join(parts) + "\n"


def find_definition(module: str, name: str) -> ast.FunctionDef | ast.ClassDef:
    """Where `name` of `module` is defined, through re-exports. Raises `SystemExit` for what has no definition."""
    file = SOURCE.joinpath(*module.split(".")[1:])
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name == name:
            return statement
        if isinstance(statement, ast.ImportFrom) and statement.module:
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    return find_definition(statement.module, alias.name)
    raise SystemExit(f"error: {file}: {name} is public, and not defined here")


def _definition_section(name: str, definition: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    yield f"## `railcar.{name}`"
    if isinstance(definition, ast.FunctionDef):
        yield f"```python\n{_signature(definition)}\n```"
    yield _docstring(definition, name)
    if isinstance(definition, ast.ClassDef) and name != "Recipe":
        yield from _members_section(name, definition)
    if name == "Recipe":
        yield "Its fields are the keys of a [recipe](recipe.md)."


def _members_section(class_name: str, definition: ast.ClassDef) -> Iterator[str]:
    for member in definition.body:
        if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
            is_property = any(isinstance(mark, ast.Name) and mark.id == "property" for mark in member.decorator_list)
            yield f"### `{class_name}.{member.name}`"
            if not is_property:
                yield f"```python\n{_signature(member)}\n```"
            yield _docstring(member, f"{class_name}.{member.name}")


def _docstring(definition: ast.FunctionDef | ast.ClassDef, name: str) -> str:
    docstring = ast.get_docstring(definition)
    if not docstring:
        raise SystemExit(f"error: {name} is public and has no docstring")
    return docstring


def _signature(definition: ast.FunctionDef) -> str:
    """`train(source=None, ...)`; one parameter a line where it would be long."""
    ends = f" -> {ast.unparse(definition.returns)}" if definition.returns else ""
    line = f"{definition.name}({ast.unparse(definition.args)}){ends}"
    if len(line) <= 100:
        return line
    return f"{definition.name}(\n" + "".join(f"    {part},\n" for part in _parameters(definition.args)) + f"){ends}"


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    yield from (_parameter(*pair) for pair in zip(positional, defaults, strict=True))
    if arguments.vararg:
        yield f"*{ast.unparse(arguments.vararg)}"
    elif arguments.kwonlyargs:
        yield "*"
    yield from (_parameter(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    if arguments.kwarg:
        yield f"**{ast.unparse(arguments.kwarg)}"


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    words = ast.unparse(argument)
    if default is None:
        return words
    return f"{words} = {ast.unparse(default)}" if argument.annotation else f"{words}={ast.unparse(default)}"


# ---- bad inputs


def write_bad_inputs() -> str:
    """The page of what bad data gets, from the table that the tests run."""
    sys.path.insert(0, str(FOLDER.parent.parent))
    from tests.bad_inputs.page import write_page

    return write_page()


PAGES = {
    "commands.md": write_commands,
    "recipe.md": write_recipe,
    "api.md": write_api,
    "bad-inputs.md": write_bad_inputs,
}


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python docs/generate_reference.py [--check]", file=sys.stderr)
        return 2
    stale = []
    for name, write in PAGES.items():
        path, text = FOLDER / name, write()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.relative_to(FOLDER.parent.parent).as_posix())
        if not arguments:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"error: {name} is not fresh" if arguments else f"wrote {name}", file=sys.stderr)
    if arguments and stale:
        print("hint: write it with: make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

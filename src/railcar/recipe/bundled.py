"""Where a recipe's file is: a path, or the name of one that comes with railcar.

Reads no recipe and does not import the schema, so that listing and completing names is quick.
"""

from __future__ import annotations

from pathlib import Path

from railcar.errors import RecipeError


def find_recipe(name_or_path: str | Path) -> Path:
    """The file of a bundled recipe or of a path. Raises `RecipeError` with the nearest spelling when there is none."""
    text = str(name_or_path)
    if is_recipe_file(text) or isinstance(name_or_path, Path):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            problem = "is a folder, not a recipe" if path.is_dir() else "there is no such file"
            raise RecipeError(f"{text}: {problem}", hint="`railcar recipe list` shows the bundled recipes")
        return path
    bundled = bundled_recipes()
    if text in bundled:
        return bundled[text]
    from difflib import get_close_matches

    close = get_close_matches(text, bundled, n=1)
    hint = f"did you mean {close[0]}?" if close else f"recipes: {', '.join(bundled)}; or a .yaml or .py file"
    raise RecipeError(f"there is no recipe {text!r}", hint=hint)


def is_recipe_file(text: str) -> bool:
    """Whether `text` is spelled like a recipe's file (it need not exist)."""
    return text.endswith((".yaml", ".yml", ".py"))


def bundled_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with railcar, sorted by name."""
    from importlib.resources import files

    folder = Path(str(files("railcar.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}

"""Shell completion: the script that click makes for bash, zsh and fish, put where the shell finds it.

Owns where the script goes and the one line that loads it. What is completed is decided by the commands themselves.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from railcar.errors import OutputError, UsageError

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_RAILCAR_COMPLETE"
MARK = "# railcar completion"


def script_of(group: click.Command, shell: str) -> str:
    """The completion script for `shell` ("bash", "zsh", "fish", or "auto": that of $SHELL)."""
    from click.shell_completion import get_completion_class

    complete = get_completion_class(find_shell(shell))
    if complete is None:
        raise UsageError(f"this version of click cannot complete in {shell}", hint="update it: pip install -U click")
    return complete(group, {}, "railcar", VARIABLE).source()


def find_shell(shell: str) -> str:
    """`shell`, or the user's login shell for "auto". Raises `UsageError` for one that is not supported."""
    name = Path(os.environ.get("SHELL", "")).name if shell == "auto" else shell
    if name in SHELLS:
        return name
    what = f"completion for the shell {name!r} is not supported" if name else "$SHELL does not say which shell you use"
    raise UsageError(what, hint=f"name one of: {', '.join(SHELLS)}")


def install(group: click.Command, shell: str) -> str:
    """Write the script, and for bash and zsh the line that loads it; again does no harm. Returns what to tell the user.

    Raises `OutputError` where a file cannot be written.
    """
    name = find_shell(shell)
    script, startup = _places(name)
    try:
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(script_of(group, name), encoding="utf-8")
        if startup is not None:
            _add_line(startup, _loading_line(name, script))
    except OSError as error:
        raise OutputError(
            f"{error.filename}: {error.strerror}",
            hint=f"`railcar --show-completion {name}` prints the script, to be put in place by hand",
        ) from error
    undo = f"rm {script}" + (f" and remove the line ending in '{MARK}' from {startup}" if startup else "")
    loaded = f", loaded by {startup}" if startup else ""
    return f"completion for {name}: wrote {script}{loaded}\nopen a new shell to use it; to undo: {undo}"


def _places(shell: str) -> tuple[Path, Path | None]:
    """Where the script goes, and the start-up file that has to load it (fish finds it itself)."""
    home = Path.home()
    if shell == "fish":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        return config / "fish" / "completions" / "railcar.fish", None
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    if shell == "zsh":
        return data / "railcar" / "completion.zsh", Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
    return data / "railcar" / "completion.bash", home / ".bashrc"


def _loading_line(shell: str, script: Path) -> str:
    import shlex

    quoted = shlex.quote(str(script))
    # zsh's `compdef` exists only after `compinit`, which costs time and is often run by the user's own file already.
    ready = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }; " if shell == "zsh" else ""
    return f"{ready}[ -f {quoted} ] && . {quoted}  {MARK}"


def _add_line(startup: Path, line: str) -> None:
    before = startup.read_text(encoding="utf-8", errors="surrogateescape") if startup.exists() else ""
    kept = [old for old in before.splitlines(keepends=True) if not old.rstrip().endswith(MARK)]
    text = "".join(kept)
    if text and not text.endswith("\n"):
        text += "\n"
    startup.write_text(f"{text}{line}\n", encoding="utf-8", errors="surrogateescape")

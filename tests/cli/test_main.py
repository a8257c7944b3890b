"""The frame of the command line: finding commands, errors, exit statuses, start-up, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import railcar
from railcar.cli import main as main_module
from railcar.cli.completion import MARK
from railcar.cli.console import Console, one_line, print_error, wants_color
from railcar.cli.main import COMMANDS, as_railcar_error, main
from railcar.cli.options import common_options, runs_dir_option
from railcar.errors import DataError, Fault, Interrupted, RecipeError

HEAVY = {"tensorflow", "keras", "numpy", "polars", "matplotlib", "PIL", "rich", "tensorboard", "pandas"}
PROBE = """
import sys
from railcar.cli.main import main
status = main(sys.argv[1:])
print("\\n" + ",".join(sorted({name.partition(".")[0] for name in sys.modules})), "pydantic" in sys.modules, status)
"""


def probe(*arguments: str, cwd: Path) -> tuple[set[str], int, str]:
    """What was imported, the exit status and stderr of `railcar arguments`, in a Python of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], cwd=cwd, capture_output=True, text=True, check=True
    )
    modules, _, status = done.stdout.splitlines()[-1].split(" ")
    return set(modules.split(",")), int(status), done.stderr


@pytest.fixture
def command_named(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[click.Command]]:
    """A slot for a command of the test's own, which `railcar probe` runs."""
    slot: list[click.Command] = []

    class Module:
        @property
        def command(self) -> click.Command:
            return slot[0]

    monkeypatch.setitem(COMMANDS, "probe", "A command of the tests.")
    monkeypatch.setitem(sys.modules, "railcar.cli.probe", Module())  # type: ignore[arg-type]
    yield slot


# ---- start-up


def test_help_lists_all_commands_and_imports_none_of_them(tmp_path: Path) -> None:
    modules, status, _ = probe("--help", cwd=tmp_path)

    assert status == 0
    assert modules & (HEAVY | {"pydantic", "yaml"}) == set()


def test_a_recipe_fault_is_told_without_any_heavy_import(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("training:\n  batchsize: 5\n")

    modules, status, stderr = probe("recipe", "check", "bad.yaml", cwd=tmp_path)

    assert modules & HEAVY == set()
    assert status == 2
    assert stderr == "error: bad.yaml:2: training.batchsize: unknown key\nhint: did you mean batch_size?\n"


def test_training_by_a_faulty_recipe_ends_before_tensorflow_is_imported(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("training:\n  batchsize: 5\n")

    modules, status, stderr = probe("train", "bad.yaml", cwd=tmp_path)

    assert modules & {"tensorflow", "keras", "matplotlib"} == set()
    assert status == 2
    assert stderr.startswith("error: bad.yaml:2: training.batchsize: unknown key\n")


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself_without_tensorflow(name: str, tmp_path: Path) -> None:
    modules, status, _ = probe(name, "--help", cwd=tmp_path)

    assert status == 0
    assert modules & {"tensorflow", "keras", "matplotlib"} == set()


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "railcar", "--version"], capture_output=True, text=True, check=True)

    assert done.stdout == f"railcar {railcar.__version__}\n"


# ---- words


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_shows_each_command_with_its_summary(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag]) == 0
    shown = capsys.readouterr().out

    for name, summary in COMMANDS.items():
        assert f"  {name} " in shown and summary in shown


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_takes_both_spellings_of_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "-h"]) == 0
    short = capsys.readouterr().out
    assert main([name, "--help"]) == 0

    assert capsys.readouterr().out == short


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["trian"], "there is no command 'trian'", "did you mean 'train'?"),
        (["zzz"], "there is no command 'zzz'", f"commands: {', '.join(COMMANDS)}"),
        (["--versoin"], "no such option '--versoin'", "did you mean --version"),
        (["recipe", "chekc"], "no such command 'chekc'", "did you mean check?"),
        (["recipe", "list", "--jsno"], "no such option '--jsno'", "did you mean --json?"),
        (["recipe", "check"], "missing argument 'RECIPE'", "`railcar recipe check --help` shows what there is"),
        (["recipe", "list", "more"], "got unexpected extra argument (more)", "`railcar recipe list --help`"),
        (["--show-completion", "tcsh"], "completion for the shell 'tcsh' is not supported", "name one of: bash, zsh"),
    ],
)
def test_wrong_words_get_one_error_one_hint_and_status_2(
    words: list[str], error: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()

    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first == f"error: {error}"
    assert second.startswith(f"hint: {hint}")


# ---- errors


def test_an_error_of_ours_is_two_lines_and_its_own_status(
    command_named: list[click.Command], capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def fail() -> None:
        raise DataError("a.csv:3: nonsense\nand more", hint="mend it")

    command_named.append(fail)

    assert main(["probe"]) == 1
    assert capsys.readouterr().err == "error: a.csv:3: nonsense and more\nhint: mend it\n"


def test_verbose_shows_the_traceback_before_the_error(
    command_named: list[click.Command], capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @common_options()
    def fail(console: Console) -> None:
        raise DataError("broken", hint="mend it")

    command_named.append(fail)

    for words in (["probe", "--verbose"], ["--verbose", "probe"]):
        assert main(words) == 1
        shown = capsys.readouterr().err
        assert shown.startswith("Traceback") and shown.endswith("error: broken\nhint: mend it\n")


def test_an_error_that_nobody_foresaw_has_no_traceback_and_asks_for_a_report(
    command_named: list[click.Command], capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def fail() -> None:
        raise KeyError("lost")

    command_named.append(fail)

    assert main(["probe"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: KeyError: 'lost'",
        "hint: this is a fault of railcar: run it again with --verbose and report what it prints",
    ]


def test_an_error_of_the_operating_system_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        (tmp_path / "gone").read_bytes()

    assert as_railcar_error(caught.value).what == f"{tmp_path / 'gone'}: No such file or directory"


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (Interrupted("saved", exit_status=143), 143)]
)
def test_an_interruption_has_its_status(
    command_named: list[click.Command], error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def fail() -> None:
        raise error

    command_named.append(fail)

    assert main(["probe"]) == status
    assert "stopped: " in capsys.readouterr().err


def test_the_int_that_a_command_returns_is_the_exit_status(command_named: list[click.Command]) -> None:
    command_named.append(click.command()(lambda: 7))

    assert main(["probe"]) == 7


def test_each_fault_of_a_recipe_has_its_own_error_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(
        RecipeError("2 faults", faults=(Fault("a.yaml:1", "k", "bad", "mend"), Fault("a.yaml:2", "l", "worse")))
    )

    assert (
        capsys.readouterr().err
        == "error: a.yaml:1: k: bad\nhint: mend\nerror: a.yaml:2: l: worse\n"
        + "hint: `railcar recipe schema` lists all keys\n"
    )


def test_control_characters_of_a_file_name_do_not_reach_the_terminal() -> None:
    assert one_line("a\x1b[31mb\nc\x07") == r"a\x1b[31mb c\x07"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_results_that_cannot_be_written_are_an_error() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "railcar", "recipe", "schema"], stdout=full, stderr=subprocess.PIPE, text=True
        )

    assert done.returncode == 1
    assert done.stderr.startswith("error: No space left on device\n")
    assert "Traceback" not in done.stderr


# ---- shared options


def test_common_options_reach_the_command_before_and_after_its_name(
    command_named: list[click.Command], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Console, Path]] = []

    @click.command()
    @runs_dir_option
    @common_options(json=True)
    def show(runs_dir: Path, console: Console) -> None:
        seen.append((console, runs_dir))

    command_named.append(show)
    monkeypatch.setenv("RAILCAR_RUNS", str(tmp_path / "environment"))

    assert main(["probe"]) == 0
    assert main(["-q", "probe", "--json", "-v", "--runs-dir", str(tmp_path / "option")]) == 0
    assert seen == [
        (Console(), tmp_path / "environment"),
        (Console(json=True, quiet=True, verbose=True), tmp_path / "option"),
    ]


def test_results_go_to_stdout_and_the_rest_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    for console in (Console(), Console(quiet=True), Console(verbose=True)):
        console.result("result")
        console.note("note")
        console.detail("detail")
        console.warn("beware")
    captured = capsys.readouterr()

    assert captured.out == "result\n" * 3
    assert captured.err == "note\nwarning: beware\n" + "warning: beware\n" + "note\ndetail\nwarning: beware\n"


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    Console(json=True).json_result({"path": Path("a"), "loss": 0.5})

    assert json.loads(capsys.readouterr().out) == {"path": "a", "loss": 0.5}
    with pytest.raises(ValueError):
        Console(json=True).json_result({"loss": float("nan")})


def test_colours_need_a_terminal_and_nobody_who_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = os.openpty()
    try:
        with os.fdopen(follower, "w") as terminal:
            monkeypatch.setattr(sys, "stderr", terminal)
            monkeypatch.delenv("NO_COLOR", raising=False)
            monkeypatch.setenv("TERM", "xterm")
            assert wants_color(no_color=False)
            assert not wants_color(no_color=True)
            monkeypatch.setenv("NO_COLOR", "1")
            assert not wants_color(no_color=False)
            monkeypatch.delenv("NO_COLOR")
            monkeypatch.setenv("TERM", "dumb")
            assert not wants_color(no_color=False)
    finally:
        os.close(leader)
    with open(os.devnull, "w") as no_terminal:  # noqa: PTH123
        monkeypatch.setattr(sys, "stderr", no_terminal)
        monkeypatch.setenv("TERM", "xterm")
        assert not wants_color(no_color=False)


# ---- completion


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("shell", "startup"), [("bash", ".bashrc"), ("zsh", ".zshrc")])
def test_installing_completion_twice_adds_one_line_and_keeps_the_rest(
    home: Path, shell: str, startup: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    (home / startup).write_text("alias ll='ls -l'")

    assert main(["--install-completion"]) == 0
    assert main(["--install-completion", shell]) == 0

    lines = (home / startup).read_text().splitlines()
    assert lines[0] == "alias ll='ls -l'"
    assert len(lines) == 2 and lines[1].endswith(MARK)
    script = home / ".local" / "share" / "railcar" / f"completion.{shell}"
    assert "_railcar_completion" in script.read_text()
    assert f"to undo: rm {script}" in capsys.readouterr().out


def test_fish_finds_its_completion_without_a_line_in_a_start_up_file(home: Path) -> None:
    assert main(["--install-completion", "fish"]) == 0

    assert [path.name for path in home.rglob("*") if path.is_file()] == ["railcar.fish"]


def test_a_home_that_cannot_be_written_is_an_error_with_the_way_by_hand(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / ".local").write_text("a file where the folder should be")

    assert main(["--install-completion", "bash"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {home / '.local'}")
    assert hint.startswith("hint: `railcar --show-completion bash` prints the script")


def test_an_unknown_shell_in_the_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SHELL", raising=False)

    assert main(["--show-completion"]) == 2
    assert capsys.readouterr().err.startswith("error: $SHELL does not say which shell you use\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [("railcar re", "recipe"), ("railcar recipe sh", "show"), ("railcar recipe show mnist-t", "mnist-tutorial")],
)
def test_bash_completes_commands_and_recipes(words: str, expected: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "_RAILCAR_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "railcar"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert f"plain,{expected}" in done.stdout.splitlines()


def test_the_table_of_commands_matches_the_files() -> None:
    folder = Path(str(main_module.__file__)).parent

    assert [name for name in COMMANDS if not (folder / f"{name}.py").is_file()] == []

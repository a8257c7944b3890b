"""What git would copy is copied, secrets never, data once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from railcar.errors import NotFound
from railcar.machines.sync import find_missing, list_project, send_data, send_project
from tests.machines.hosts import machine, make_ready

SECRETS = {
    ".env": "PASSWORD=x",
    ".env.local": "x",
    "id_ed25519": "x",
    "deploy.pem": "x",
    "service-account-prod.json": "{}",
    "credentials.json": "{}",
    ".aws/config": "x",
    "notes.txt": "-----BEGIN OPENSSH PRIVATE KEY-----\nabc",
    "config.py": 'KEY = "AKIAIOSFODNN7EXAMPLE"',
    "key.json": '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----"}',
    "hub.txt": "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    write(
        folder,
        {"train.py": "print(1)", "src/net.py": "x = 1", ".gitignore": "data/\n*.log\n", "data/a.csv": "1", "x.log": ""},
    )
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_tracked_and_untracked_files_are_copied_and_ignored_ones_not(project):
    subprocess.run(["git", "-C", str(project), "add", "train.py"], check=True)
    assert sorted(list_project(project).names) == [".gitignore", "src/net.py", "train.py"]


def test_without_git_all_but_caches_is(tmp_path):
    write(
        tmp_path, {"a.py": "", "__pycache__/a.pyc": "", ".venv/bin/python": "", "node_modules/x.js": "", "b/c.txt": ""}
    )
    assert sorted(list_project(tmp_path).names) == ["a.py", "b/c.txt"]


def test_what_is_named_is_copied_though_git_ignores_it(project):
    assert "data/a.csv" in list_project(project, ["data"]).names
    with pytest.raises(NotFound, match="no such file"):
        list_project(project, ["nothing"])


def test_no_planted_secret_is_among_the_files(project):
    write(project, SECRETS)
    found = list_project(project, list(SECRETS))
    assert sorted(found.secrets) == sorted(SECRETS)
    assert not set(SECRETS) & set(found.names)


def test_public_keys_and_words_about_keys_are_no_secrets(project):
    write(
        project, {"id_ed25519.pub": "ssh-ed25519 AAAA", "README.md": "set AWS_SECRET_ACCESS_KEY", "keys.py": "key = 1"}
    )
    assert not list_project(project).secrets


def test_a_word_of_the_command_that_will_be_missing_is_found(project):
    files = list_project(project)
    assert find_missing(["python3", "train.py", "--data=data/a.csv", "data", "src", "5"], files) == [
        "data/a.csv",
        "data",
    ]


def test_a_removed_file_is_removed_there_and_what_was_made_there_stays(network, project):
    with machine(network) as (_, shell):
        ready = make_ready(shell)
        there = send_project(shell, ready, list_project(project), "project")
        shell.run(f"echo made > {there}/made.txt")
        (project / "src" / "net.py").unlink()
        write(project, {"new file.py": "2"})
        send_project(shell, ready, list_project(project), "project")
        found = shell.read(f"cd {there} && find . -type f | sort").split("\n")
    assert found == ["./.gitignore", "./made.txt", "./new file.py", "./train.py"]


def test_data_is_sent_once_and_after_a_change_only_what_is_new(network, tmp_path):
    folder = tmp_path / "photos"
    write(folder, {f"cat/{n}.txt": f"cat {n}" * 100 for n in range(20)})
    with machine(network) as (_, shell):
        ready = make_ready(shell)
        first = send_data(shell, ready, folder)
        shell.run(f"echo changed there > {first}/cat/0.txt")
        assert send_data(shell, ready, folder) == first
        assert shell.read(f"cat {first}/cat/0.txt") == "changed there"  # it was not sent again

        write(folder, {"dog/1.txt": "dog"})
        second = send_data(shell, ready, folder)
        assert second != first and Path(second).name == "photos"
        assert shell.read(f"cat {second}/dog/1.txt") == "dog"
        inodes = shell.read(f"stat -c %i {first}/cat/1.txt {second}/cat/1.txt").split()
        assert inodes[0] == inodes[1]  # what both have was not sent again
        assert shell.read(f"cat {second}/cat/0.txt") == "cat 0" * 100


def test_a_single_file_keeps_its_name(network, tmp_path):
    path = tmp_path / "my reviews.csv"
    path.write_text("text,label\n" + "good,1\n" * 5000)
    with machine(network) as (_, shell):
        there = send_data(shell, make_ready(shell), path)
        assert Path(there).name == path.name
        assert shell.read(f"wc -c < '{there}'").strip() == str(path.stat().st_size)

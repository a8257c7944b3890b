from __future__ import annotations

import errno
from pathlib import Path

import pytest

from railcar.errors import OutputError
from railcar.storage.local import (
    build_folder,
    cache_dir,
    check_writable,
    explain_output_errors,
    remove_folder,
    write_atomic,
)


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("RAILCAR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert cache_dir() == tmp_path / "shared" / "railcar"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "railcar"


def test_an_atomic_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_writing_below_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_atomic(tmp_path / "file" / "more", b"")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        check_writable(tmp_path / "file" / "runs")


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "runs" / "deep")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    # /proc refuses new files even to root, which ignores permission bits.
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    with pytest.raises(OutputError, match="/proc/runs is not writable"):
        check_writable(Path("/proc/runs"))


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "is not writable"), (errno.EACCES, "not w")],
)
def test_what_the_disk_says_becomes_one_line(tmp_path: Path, number: int, message: str) -> None:
    with pytest.raises(OutputError, match=message), explain_output_errors(tmp_path / "file"):
        raise OSError(number, "as the system says it")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "data"
    with pytest.raises(ValueError, match="no"), build_folder(target) as folder:
        (folder / "a").write_text("half")
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []
    with build_folder(target) as folder:
        (folder / "a").write_text("whole")
        assert not target.exists()
    assert (target / "a").read_text() == "whole" and list(tmp_path.iterdir()) == [target]


def test_who_comes_second_leaves_the_first_ones_folder(tmp_path: Path) -> None:
    target = tmp_path / "data"
    with build_folder(target) as late:
        (late / "a").write_text("late")
        with build_folder(target) as early:
            (early / "a").write_text("early")
    assert (target / "a").read_text() == "early" and list(tmp_path.iterdir()) == [target]


def test_removing_a_folder_that_is_gone_is_success(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    remove_folder(tmp_path / "a")
    remove_folder(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_short_write_of_numpy_is_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the disk is full"), explain_output_errors(tmp_path / "images.npy"):
        raise OSError("320000 requested and 155520 written")

from __future__ import annotations

import importlib.util
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from railcar.errors import DataError, OutputError
from railcar.storage.archives import Limits, is_archive, unpack_archive

FILES = {"set/cat/1.txt": b"one", "set/cat/2.txt": b"two" * 500, "set/dog/1.txt": b""}
MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("RAILCAR_CACHE", str(folder))
    return folder


def write_tar(path: Path, files: dict[str, bytes], *, links: dict[str, str] | None = None, kind: bytes = b"2") -> Path:
    mode = next(MODES[suffix] for suffix in sorted(MODES, key=len, reverse=True) if path.name.endswith(suffix))
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def check_nothing_is_left(cache: Path, tmp_path: Path) -> None:
    assert not [path for path in cache.rglob("*") if path.is_file()]
    assert not list(tmp_path.rglob("escape*"))


@pytest.mark.parametrize("suffix", [*MODES, ".zip"])
def test_every_kind_is_unpacked_once_and_its_single_top_folder_looked_through(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"set{suffix}"
    (write_zip if suffix == ".zip" else write_tar)(path, FILES)
    folder = unpack_archive(path)
    (folder / "mark").touch()

    assert is_archive(path) and folder.name == "set"
    assert {p.relative_to(folder.parent).as_posix(): p.read_bytes() for p in folder.rglob("*.txt")} == FILES
    assert unpack_archive(path) == folder and (folder / "mark").exists()
    path.touch()
    os.utime(path, ns=(1, 1))
    assert not (unpack_archive(path) / "mark").exists()


def test_what_someone_removed_of_an_unpacked_archive_is_unpacked_again(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "pets.zip", {"a/1.txt": b"", "b/1.txt": b""})
    folder = unpack_archive(path)
    folder.rename(folder.with_name("elsewhere"))

    assert unpack_archive(path) == folder and (folder / "a" / "1.txt").is_file()


def test_a_folder_without_a_top_is_named_after_the_archive(tmp_path: Path) -> None:
    assert unpack_archive(write_zip(tmp_path / "pets.zip", {"a/1.txt": b"", "b/1.txt": b""})).name == "pets"


def test_an_archive_packed_by_zstd_is_read_or_the_package_named(tmp_path: Path) -> None:
    path = tmp_path / "set.tar.zst"
    modules = [name for name in ("compression.zstd", "backports.zstd") if has_module(name)]
    if not modules:
        path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
        with pytest.raises(DataError, match="packed by zstd, which this Python cannot read") as caught:
            unpack_archive(path)
        assert "pip install backports.zstd" in caught.value.hint
        return
    plain = write_tar(tmp_path / "set.tar", FILES).read_bytes()
    packed = importlib.import_module(modules[0]).compress(plain)
    path.write_bytes(packed)
    assert (unpack_archive(path) / "cat" / "1.txt").read_bytes() == b"one"
    path.write_bytes(packed[:-10])
    with pytest.raises(DataError, match="truncated or damaged"):
        unpack_archive(path)


def has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_progress_comes_to_its_end_and_what_macos_adds_is_left_out(tmp_path: Path) -> None:
    seen = []
    files = {**FILES, "__MACOSX/set/._1.txt": b"resource"}
    folder = unpack_archive(write_zip(tmp_path / "a.zip", files), progress=lambda *said: seen.append(said))
    assert folder.name == "set" and not (folder.parent / "__MACOSX").exists()
    assert seen[-1] == ("unpacking a.zip (MB)", 0, 0)


@pytest.mark.parametrize("name", ["../escape.txt", "set/../../escape.txt", "/tmp/escape.txt", "..\\escape.txt", "C:/e"])
@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_names_that_lead_out_are_refused_and_nothing_is_unpacked(
    tmp_path: Path, cache: Path, suffix: str, name: str
) -> None:
    path = tmp_path / f"bad{suffix}"
    (write_zip if suffix == ".zip" else write_tar)(path, {**FILES, name: b"no"})
    with pytest.raises(DataError, match="leads out of its folder; nothing is unpacked"):
        unpack_archive(path)
    check_nothing_is_left(cache, tmp_path)


@pytest.mark.parametrize(
    "links",
    [
        {"set/escape": "/etc/passwd"},
        {"set/escape": "../../passwd"},
        {"set/escape": "cat/../../../passwd"},
        {"a": ".", "a/b": ".."},
    ],
)
def test_links_that_lead_out_are_refused(tmp_path: Path, cache: Path, links: dict[str, str]) -> None:
    path = write_tar(tmp_path / "bad.tar", FILES, links=links)
    with pytest.raises(DataError, match=r"which leads (out of its folder|through a link); nothing is unpacked"):
        unpack_archive(path)
    check_nothing_is_left(cache, tmp_path)


def test_a_hard_link_to_a_file_outside_is_refused_and_one_inside_is_a_copy(tmp_path: Path, cache: Path) -> None:
    path = write_tar(tmp_path / "bad.tar", FILES, links={"set/escape": "etc/passwd"}, kind=tarfile.LNKTYPE)
    with pytest.raises(DataError, match="which is no file in it"):
        unpack_archive(path)
    check_nothing_is_left(cache, tmp_path)
    good = write_tar(tmp_path / "good.tar", FILES, links={"set/dog/2.txt": "set/cat/1.txt"}, kind=tarfile.LNKTYPE)
    assert (unpack_archive(good) / "dog" / "2.txt").read_bytes() == b"one"


def test_links_inside_stay(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "good.tar", FILES, links={"set/dog/2.txt": "../cat/1.txt"})
    assert (unpack_archive(path) / "dog" / "2.txt").read_bytes() == b"one"


def test_a_file_does_not_follow_a_link_of_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name, content, link in (("s/a.txt", b"one", ""), ("s/b.txt", b"", "a.txt"), ("s/b.txt", b"two", "")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = (tarfile.SYMTYPE, link) if link else (tarfile.REGTYPE, "")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    folder = unpack_archive(path)
    assert [(folder / name).read_bytes() for name in ("a.txt", "b.txt")] == [b"one", b"two"]


def test_a_pipe_in_an_archive_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", FILES, links={"pipe": ""}, kind=tarfile.FIFOTYPE)
    with pytest.raises(DataError, match="pipe is a device or a pipe"):
        unpack_archive(path)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz", ".zip"])
def test_a_bomb_is_refused_at_the_limit_which_is_stated(tmp_path: Path, cache: Path, suffix: str) -> None:
    path = tmp_path / f"bomb{suffix}"
    (write_zip if suffix == ".zip" else write_tar)(path, {"a": bytes(3_000_000)})
    with pytest.raises(DataError, match="unpacks to more than 1,000,000 bytes, the limit"):
        unpack_archive(path, limits=Limits(small_bytes=1_000_000, ratio=2))
    with pytest.raises(DataError, match="more than 2,999,999 bytes"):
        unpack_archive(path, limits=Limits(n_bytes=2_999_999))
    check_nothing_is_left(cache, tmp_path)
    assert (unpack_archive(path) / "a").stat().st_size == 3_000_000


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds more than 2 files, the limit"):
        unpack_archive(write_zip(tmp_path / "many.zip", FILES), limits=Limits(n_files=2))


def test_a_disk_without_the_space_is_found_before_writing(tmp_path: Path) -> None:
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"x")
        archive.infolist()[0].file_size = 1 << 50  # what the directory at its end says
    with pytest.raises(OutputError, match=r"large\.zip needs .* GB to be unpacked") as caught:
        unpack_archive(path, limits=Limits(n_bytes=1 << 60, small_bytes=1 << 60))
    assert "RAILCAR_CACHE" in caught.value.hint


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_archive_is_refused_with_words(tmp_path: Path, cache: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    files = {f"set/{n}.bin": os.urandom(3000) for n in range(40)}
    (write_zip if suffix == ".zip" else write_tar)(path, files)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=r"cut\..*: (truncated or damaged|cut off)") as caught:
        unpack_archive(path)
    assert "fetch it again" in caught.value.hint
    check_nothing_is_left(cache, tmp_path)


def test_a_tar_cut_between_two_files_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "cut.tar", {"a": b"x" * 512, "b": b"y" * 512})
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(DataError, match="the end of the archive is missing"):
        unpack_archive(path)


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_a_flipped_byte_is_found(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"flipped{suffix}"
    (write_zip if suffix == ".zip" else write_tar)(path, {"a.bin": os.urandom(20_000)})
    content = bytearray(path.read_bytes())
    content[10_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated or damaged"):
        unpack_archive(path)


def test_an_encrypted_zip_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "secret.zip", {"a.txt": b"x"})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.txt is encrypted"):
        unpack_archive(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html></html>", "not a zip or tar, but an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-LFS pointer"),
        (b"hello", "not a zip or tar, but no archive"),
    ],
)
def test_what_is_no_archive_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "set.tar.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        unpack_archive(path)


def test_an_archive_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the archive is empty"):
        unpack_archive(write_tar(tmp_path / "a.tar", {}))


def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a file and a folder at once"):
        unpack_archive(write_tar(tmp_path / "a.tar", {"a": b"", "a/b": b""}))

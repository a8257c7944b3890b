from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from railcar.errors import DataError, NotFound, OutputError, Unreachable
from railcar.storage import remote
from railcar.storage.copies import Copy, list_copies
from railcar.storage.fetch import fetch_tree, heard_by
from railcar.storage.parts import PART_BYTES
from tests.places import Place

LARGE = os.urandom(PART_BYTES * 3 + 12345)


def fill(place: Place, n: int = 40) -> dict[str, bytes]:
    files = {f"photos/{'cat' if number % 2 else 'dog'}/{number}.jpg": os.urandom(2000 + number) for number in range(n)}
    for name, content in files.items():
        remote.write(f"{place.address}/{name}", content)
    return files


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        f"{folder.name}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_tree_comes_whole_and_again_costs_a_listing(bucket: Place) -> None:
    files = fill(bucket)
    calls: list[tuple[str, int, int]] = []
    folder = fetch_tree(f"{bucket.address}/photos", lambda *given: calls.append(given))
    assert folder.name == "photos" and read_tree(folder) == files
    assert calls[-1] == ("fetching photos, MB", 0, 1)
    before = len(bucket.requests)
    assert fetch_tree(f"{bucket.address}/photos") == folder
    assert len(bucket.requests) - before <= 2


def test_the_second_time_needs_no_network_and_says_so(bucket: Place, clouds: pytest.MonkeyPatch) -> None:
    files = fill(bucket, 4)
    folder = fetch_tree(f"{bucket.address}/photos")
    clouds.setenv("RAILCAR_RETRY_S", "0.2")
    bucket.faults.n_allowed = 0
    said: list[str] = []
    assert fetch_tree(f"{bucket.address}/photos", say=said.append) == folder
    assert read_tree(folder) == files
    assert len(said) == 1 and "fetched and verified before is used" in said[0]
    next(iter(folder.rglob("*.jpg"))).unlink()
    with pytest.raises(Unreachable):
        fetch_tree(f"{bucket.address}/photos", say=said.append)


def test_only_what_changed_is_fetched_and_what_is_gone_goes(bucket: Place) -> None:
    files = fill(bucket, 6)
    folder = fetch_tree(f"{bucket.address}/photos")
    files["photos/dog/0.jpg"] = b"x" * len(files["photos/dog/0.jpg"])
    remote.write(f"{bucket.address}/photos/dog/0.jpg", files["photos/dog/0.jpg"])
    remote.delete(f"{bucket.address}/photos/cat")
    files = {name: content for name, content in files.items() if "/cat/" not in name}
    before = len(bucket.requests)
    assert read_tree(fetch_tree(f"{bucket.address}/photos")) == files
    assert sum("photos%2Fdog%2F" in one or "photos/dog/" in one for one in bucket.requests[before:]) == 1
    assert not (folder / "cat").exists()


def test_what_a_lost_network_cut_off_goes_on_where_it_was(bucket: Place, clouds: pytest.MonkeyPatch) -> None:
    files = fill(bucket, 60)
    clouds.setenv("RAILCAR_RETRY_S", "0")
    bucket.faults.n_allowed = 42
    with pytest.raises(Unreachable, match=r"cannot be reached|connection broke"):
        fetch_tree(f"{bucket.address}/photos")
    assert Copy(remote.parse(f"{bucket.address}/photos")).target() is None
    bucket.faults.n_allowed = None
    before = len(bucket.requests)
    assert read_tree(fetch_tree(f"{bucket.address}/photos")) == files
    assert len(bucket.requests) - before <= 60 - 20


def test_a_large_object_goes_on_with_the_parts_that_are_there(bucket: Place, clouds: pytest.MonkeyPatch) -> None:
    remote.write(f"{bucket.address}/big.csv", LARGE)
    clouds.setenv("RAILCAR_RETRY_S", "0")
    bucket.faults.n_allowed = 3  # the head, and two parts
    with pytest.raises(Unreachable):
        fetch_tree(f"{bucket.address}/big.csv")
    bucket.faults.n_allowed = None
    before = len(bucket.requests)
    path = fetch_tree(f"{bucket.address}/big.csv")
    assert path.name == "big.csv" and path.read_bytes() == LARGE
    assert len(bucket.requests) - before == 1 + 2


def test_a_bad_network_costs_time_and_not_one_byte(bucket: Place) -> None:
    files = fill(bucket, 30)
    remote.write(f"{bucket.address}/photos/dog/big.jpg", LARGE)
    files["photos/dog/big.jpg"] = LARGE
    bucket.faults.only, bucket.faults.path = "GET", "dog"
    bucket.faults.n_busy, bucket.faults.n_cut, bucket.faults.cut_after = 3, 6, 900
    bucket.faults.n_wrong_length = 4
    assert read_tree(fetch_tree(f"{bucket.address}/photos")) == files


def test_damage_is_found_by_the_checksum_of_the_service(google: Place) -> None:
    """S3 gives objects that were written in parts no checksum of the whole: there only the length is known."""
    remote.write(f"{google.address}/big.csv", LARGE)
    google.faults.only, google.faults.n_damaged = "GET", 1
    with pytest.raises(DataError, match="came damaged"):
        fetch_tree(f"{google.address}/big.csv")
    assert fetch_tree(f"{google.address}/big.csv").read_bytes() == LARGE


def test_a_process_killed_while_it_fetches_leaves_nothing_half(bucket: Place) -> None:
    files = fill(bucket, 50)
    bucket.faults.latency_s = 0.05
    program = f"from railcar.storage.fetch import fetch_tree; fetch_tree({bucket.address + '/photos'!r})"
    process = subprocess.Popen([sys.executable, "-c", program])
    data = Copy(remote.parse(f"{bucket.address}/photos")).data
    while process.poll() is None and sum(1 for _ in data.rglob("*.jpg")) < 5:
        pass
    process.kill()
    process.wait()
    found = read_tree(data / "photos")
    assert found and found.items() <= files.items()
    bucket.faults.latency_s = 0
    assert read_tree(fetch_tree(f"{bucket.address}/photos")) == files


def test_nothing_there_is_refused_with_the_nearest_name(bucket: Place) -> None:
    fill(bucket, 2)
    with pytest.raises(NotFound, match="nothing below it") as caught:
        fetch_tree(f"{bucket.address}/photo")
    assert caught.value.hint == f"did you mean {bucket.address}/photos?"
    with pytest.raises(NotFound, match="no bucket"):
        fetch_tree(f"{bucket.scheme}://no-such-bucket/photos")


def test_the_copy_used_longest_ago_goes_and_one_in_use_never(s3: Place, clouds: pytest.MonkeyPatch) -> None:
    clouds.setenv("RAILCAR_CACHE_LIMIT_GB", "0.001")
    for name in ("one", "two", "three"):
        remote.write(f"{s3.address}/{name}.csv", os.urandom(450_000))
    fetch = "from railcar.storage.fetch import fetch_tree; fetch_tree({!r})"
    for name in ("one", "two"):  # processes that have ended use nothing
        subprocess.run([sys.executable, "-c", fetch.format(f"{s3.address}/{name}.csv")], check=True)
    used = fetch_tree(f"{s3.address}/one.csv")
    said: list[str] = []
    fetch_tree(f"{s3.address}/three.csv", say=said.append)
    assert used.is_file() and {path.name.split(".")[0] for path in list_copies()} == {"one", "three"}
    assert len(said) == 1 and "two.csv" in said[0]
    with pytest.raises(OutputError, match=r"needs 0\.00 GB more in the cache, which may hold 0\.001 GB"):
        fetch_tree(f"{s3.address}/two.csv")


def test_keys_that_are_no_paths_are_refused(s3: Place) -> None:
    remote.write(f"{s3.address}/set/a", b"1")
    remote.write(f"{s3.address}/set/a/b", b"1")
    with pytest.raises(DataError, match="an object and a folder at once"):
        fetch_tree(f"{s3.address}/set")


@pytest.mark.parametrize("cut_after", [0, 1_000_000])
def test_a_file_of_a_web_server_goes_on_behind_what_came(s3: Place, cut_after: int) -> None:
    remote.write(f"{s3.address}/big.zip", LARGE)
    s3.faults.n_cut, s3.faults.cut_after, s3.faults.only = 4, cut_after, "GET"
    before = len(s3.requests)
    path = fetch_tree(s3.url("big.zip"))
    assert path.name == "big.zip" and path.read_bytes() == LARGE
    assert len(s3.requests) - before >= 4
    assert fetch_tree(s3.url("big.zip")) == path
    assert len(s3.requests) - before <= 7
    remote.write(f"{s3.address}/big.zip", LARGE[:-1])
    assert fetch_tree(s3.url("big.zip")).read_bytes() == LARGE[:-1]
    s3.faults.n_allowed = 0
    assert fetch_tree(s3.url("big.zip")).read_bytes() == LARGE[:-1]


def test_a_web_address_that_is_not_there_or_denied_is_told_apart(s3: Place) -> None:
    with pytest.raises(NotFound, match="not there"):
        fetch_tree(s3.url("nothing.zip"))
    s3.faults.n_busy, s3.faults.busy_status = 1, 403
    with pytest.raises(DataError, match="may not be read"):
        fetch_tree(s3.url("nothing.zip"))


def test_two_processes_that_fetch_the_same_do_it_once(s3: Place) -> None:
    files = fill(s3, 30)
    s3.faults.latency_s = 0.05
    before = s3.count("GET")
    program = f"from railcar.storage.fetch import fetch_tree; print(fetch_tree({s3.address + '/photos'!r}))"
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert read_tree(Path(printed[0][0].strip())) == files
    assert printed[0][0] == printed[1][0]
    assert s3.count("GET") - before == 30 + 2  # each file once, and a listing for each process


def test_who_listens_is_told_and_stderr_is_not(
    bucket: Place, clouds: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(bucket, 4)
    fetch_tree(f"{bucket.address}/photos")
    clouds.setenv("RAILCAR_RETRY_S", "0.2")
    bucket.faults.n_allowed = 0
    said: list[str] = []
    with heard_by(said.append):
        fetch_tree(f"{bucket.address}/photos")
    assert len(said) == 1 and "fetched and verified before is used" in said[0]
    assert capsys.readouterr().err == ""

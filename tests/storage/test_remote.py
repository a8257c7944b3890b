from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from railcar.errors import AccessDenied, DataError, NotFound, Unreachable
from railcar.storage import remote
from tests.places import Place

CONTENT = bytes(range(256)) * 40


def test_what_is_written_is_read_whole_and_in_part(place: Place) -> None:
    for name in ("plain.bin", "a/b c#%ü?.txt"):
        remote.write(f"{place.address}/{name}", CONTENT)
        assert remote.read(f"{place.address}/{name}") == CONTENT
        assert remote.read(f"{place.address}/{name}", (100, 300)) == CONTENT[100:300]
    remote.write(f"{place.address}/plain.bin", b"")
    assert remote.read(f"{place.address}/plain.bin") == b""


def test_a_file_is_sent_as_it_lies_on_the_disk(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT * 900)  # 9 MB: several parts of an upload
    remote.write(f"{place.address}/file", tmp_path / "file")
    assert remote.read(f"{place.address}/file") == CONTENT * 900


def test_a_listing_has_all_below_and_nothing_beside(place: Place) -> None:
    for name in ("set/b/2", "set/a/1", "set/3", "settle/4"):
        remote.write(f"{place.address}/{name}", name.encode())
    found = list(remote.list_objects(f"{place.address}/set"))
    assert [entry.key.split("/set/")[1] for entry in found] == ["3", "a/1", "b/2"]
    assert [entry.size for entry in found] == [5, 7, 7]
    before = found[0].etag
    remote.write(f"{place.address}/set/3", b"other")
    assert next(iter(remote.list_objects(f"{place.address}/set"))).etag != before
    assert list(remote.list_objects(f"{place.address}/set/3")) == []


def test_many_are_read_in_their_order_ahead_of_what_is_taken(place: Place) -> None:
    addresses = [f"{place.address}/{number:02d}" for number in range(40)]
    for number, address in enumerate(addresses):
        remote.write(address, b"%d" % number * (number + 1))
    assert list(remote.read_many(addresses, 8)) == [b"%d" % n * (n + 1) for n in range(40)]
    assert list(remote.read_many([])) == []


def test_of_several_that_write_at_once_one_wins(place: Place) -> None:
    address = f"{place.address}/lease"
    barrier = threading.Barrier(4)

    def take(number: int) -> bool:
        barrier.wait()
        return remote.write_if_absent(address, b"%d" % number)

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(take, range(4)))
    assert won.count(True) == 1
    assert remote.read(address) == b"%d" % won.index(True)


def test_what_is_deleted_is_gone_with_all_below_it(place: Place) -> None:
    for name in ("set/a", "set/b/c", "settle/d"):
        remote.write(f"{place.address}/{name}", b"1")
    remote.delete(f"{place.address}/set")
    remote.delete(f"{place.address}/set")
    assert list(remote.list_objects(f"{place.address}/set")) == []
    assert remote.read(f"{place.address}/settle/d") == b"1"


def test_what_is_not_there_is_told_from_a_bucket_that_is_not_there(bucket: Place) -> None:
    with pytest.raises(NotFound, match="nothing: not there"):
        remote.read(f"{bucket.address}/nothing")
    assert remote.stat(f"{bucket.address}/nothing") is None
    for call in (remote.read, lambda address: list(remote.list_objects(address)), lambda a: remote.write(a, b"1")):
        with pytest.raises(NotFound, match="there is no bucket 'no-such-bucket'") as caught:
            call(f"{bucket.scheme}://no-such-bucket/nothing")
        assert "spelling" in caught.value.hint


def test_denied_is_told_from_not_there_and_names_who_asked(bucket: Place) -> None:
    bucket.faults.n_busy, bucket.faults.busy_status = 9, 403
    with pytest.raises(AccessDenied, match="may not be read by") as caught:
        remote.read(f"{bucket.address}/secret")
    assert ("roles/storage.objectViewer" if bucket.scheme == "gs" else "s3:GetObject") in caught.value.hint
    with pytest.raises(AccessDenied, match="may not be written"):
        remote.write(f"{bucket.address}/secret", b"1")


def test_who_has_no_credentials_is_told_how_to_get_some(s3: Place, clouds: pytest.MonkeyPatch) -> None:
    clouds.delenv("AWS_ACCESS_KEY_ID")
    clouds.delenv("AWS_SECRET_ACCESS_KEY")
    clouds.setenv("AWS_SKIP_SIGNATURE", "true")
    s3.faults.n_busy, s3.faults.busy_status = 9, 403
    with pytest.raises(AccessDenied, match="without credentials") as caught:
        remote.read(f"{s3.address}/secret")
    assert "AWS_PROFILE" in caught.value.hint


@pytest.mark.parametrize(
    "fault",
    [{"n_busy": 2}, {"n_cut": 2, "cut_after": 700}, {"n_wrong_length": 2}, {"n_damaged": 1}, {"lost_answers": 2}],
)
def test_a_bad_network_costs_attempts_and_never_content(bucket: Place, fault: dict[str, int]) -> None:
    remote.write(f"{bucket.address}/file", CONTENT)
    entry = next(iter(remote.list_objects(bucket.address)))
    for name, value in fault.items():
        setattr(bucket.faults, name, value)
    before = len(bucket.requests)
    assert remote.read(f"{bucket.address}/file", expected=entry) == CONTENT
    assert len(bucket.requests) - before > 1


def test_a_write_survives_busy_servers_and_lost_answers(bucket: Place) -> None:
    bucket.faults.n_busy, bucket.faults.lost_answers = 2, 1
    remote.write(f"{bucket.address}/file", CONTENT)
    assert remote.read(f"{bucket.address}/file") == CONTENT
    bucket.faults.lost_answers = 1
    assert remote.write_if_absent(f"{bucket.address}/lease", b"mine")
    bucket.faults.lost_answers = 1
    assert not remote.write_if_absent(f"{bucket.address}/lease", b"other")


def test_a_network_that_stays_away_ends_in_words_that_say_how_to_go_on(
    bucket: Place, clouds: pytest.MonkeyPatch
) -> None:
    clouds.setenv("RAILCAR_RETRY_S", "0.3")
    bucket.faults.n_allowed = 0
    for call in (lambda: remote.read(f"{bucket.address}/file"), lambda: remote.write(f"{bucket.address}/file", b"1")):
        with pytest.raises(Unreachable, match=r"attempts? in \d|one attempt") as caught:
            call()
        assert "run the same command again" in caught.value.hint


def test_a_wrong_length_is_refused_however_often_it_comes(bucket: Place, clouds: pytest.MonkeyPatch) -> None:
    clouds.setenv("RAILCAR_RETRY_S", "0.3")
    remote.write(f"{bucket.address}/file", CONTENT)
    entry = next(iter(remote.list_objects(bucket.address)))
    bucket.faults.n_wrong_length = 10**6
    with pytest.raises(Unreachable, match="5,120 of 10,240 bytes came"):
        remote.read(f"{bucket.address}/file", expected=entry)


def test_content_that_changed_since_the_listing_is_refused(bucket: Place) -> None:
    remote.write(f"{bucket.address}/file", b"old")
    entry = next(iter(remote.list_objects(bucket.address)))
    remote.write(f"{bucket.address}/file", b"new")
    with pytest.raises(DataError, match="was changed while it was read"):
        remote.read(f"{bucket.address}/file", expected=entry)

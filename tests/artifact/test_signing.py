"""Signatures and the key behind them: what is found out, and where the key may come from."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from railcar.artifact import signing
from railcar.artifact.artifact import Artifact, read_artifact, write_artifact
from railcar.errors import ArtifactError, ForeignArtifact
from tests.bad_inputs.row import Unavailable
from tests.bad_inputs.system import remount, small_disk

Write = Callable[[Path], Artifact]


class Stub:
    """Stands for a Keras model where nothing is computed."""

    def save(self, path: Path) -> None:
        path.write_bytes(b"a network")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own: the key is where it is without any setting."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("RAILCAR_KEY_FILE")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


def write(path: Path) -> Artifact:
    about = {"kind": "text", "task": "regression", "class_names": [], "features": {"columns": []}}
    samples = (pl.DataFrame({"text": ["a"]}), np.zeros((1, 1), np.float32))
    facts = {"metrics": {"test": {"mae": 0.1, "loss": float("nan")}}, "run": "größe-1"}
    return write_artifact(path, Stub(), about=about, samples=samples, facts=facts, encoding={"vocabulary": ["ß", "中"]})


def change(path: Path, **what: object) -> None:
    manifest = json.loads((path / "artifact.json").read_bytes())
    (path / "artifact.json").write_text(json.dumps({**manifest, **what}))


def test_what_one_has_written_oneself_is_read_and_the_key_is_made_for_oneself_alone(home: Path, tmp_path: Path):
    write(tmp_path / "artifact")
    found = read_artifact(tmp_path / "artifact")
    key = home / ".config" / "railcar" / "key"
    assert found.is_own and found.note == ""
    assert (key.stat().st_size, stat.S_IMODE(key.stat().st_mode)) == (32, 0o600)
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700 and list(key.parent.iterdir()) == [key]


def test_the_folder_of_settings_and_the_key_file_follow_the_environment(home, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    assert signing.key_path() == tmp_path / "settings" / "railcar" / "key"
    monkeypatch.setenv("RAILCAR_KEY_FILE", str(tmp_path / "secret"))
    assert signing.key_path() == tmp_path / "secret"


@pytest.mark.parametrize(
    "what",
    [
        {"metrics": {"test": {"mae": 0.0, "loss": float("nan")}}},
        {"class_names": ["a"]},
        {"checksums": {}},
        {"more": 1},
        {"hmac": "0" * 64},
        {"hmac": "ß"},
        {"hmac": None},
        {"hmac": 7},
    ],
    ids=lambda what: next(iter(what)),
)
def test_any_change_of_artifact_json_is_found_out(tmp_path: Path, what: dict[str, object]):
    write(tmp_path / "artifact")
    change(tmp_path / "artifact", **what)
    with pytest.raises(ForeignArtifact, match="was not made by you on this machine") as caught:
        read_artifact(tmp_path / "artifact")
    assert caught.value.hint == "if you know where it comes from: --trust"


def test_spaces_and_the_order_of_keys_are_no_change(tmp_path: Path):
    write(tmp_path / "artifact")
    path = tmp_path / "artifact" / "artifact.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps(dict(reversed(manifest.items())), indent=7, ensure_ascii=False))
    assert read_artifact(tmp_path / "artifact").is_own


def test_an_older_railcars_artifact_has_no_signature_and_the_hint_says_how_to_get_one(tmp_path: Path):
    write(tmp_path / "artifact")
    path = tmp_path / "artifact" / "artifact.json"
    manifest = json.loads(path.read_bytes())
    del manifest["hmac"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ForeignArtifact) as caught:
        read_artifact(tmp_path / "artifact")
    assert "railcar evaluate RUN makes it anew" in caught.value.hint


def test_another_users_artifact_is_not_ones_own_until_the_key_is_copied(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("RAILCAR_KEY_FILE", str(tmp_path / "theirs"))
    write(tmp_path / "artifact")
    monkeypatch.setenv("RAILCAR_KEY_FILE", str(tmp_path / "mine"))
    with pytest.raises(ForeignArtifact):
        read_artifact(tmp_path / "artifact")
    assert not (tmp_path / "mine").exists()
    (tmp_path / "mine").write_bytes((tmp_path / "theirs").read_bytes())
    assert read_artifact(tmp_path / "artifact").is_own


def test_what_came_home_from_a_machine_is_signed_again_if_it_is_whole(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("RAILCAR_KEY_FILE", str(tmp_path / "machine"))
    write(tmp_path / "artifact")
    write(tmp_path / "damaged")
    (tmp_path / "damaged" / "model.keras").write_bytes(b"half")
    write(tmp_path / "leads out")
    change(tmp_path / "leads out", checksums={"../artifact/model.keras": "0"})
    monkeypatch.setenv("RAILCAR_KEY_FILE", str(tmp_path / "mine"))
    assert [signing.sign_again(tmp_path / name) for name in ("artifact", "damaged", "leads out", "none")] == [
        True, False, False, False,
    ]  # fmt: skip
    assert read_artifact(tmp_path / "artifact").is_own


def test_a_file_that_was_added_and_names_that_lead_out_are_refused(tmp_path: Path):
    write(tmp_path / "artifact")
    (tmp_path / "artifact" / ".DS_Store").touch()
    read_artifact(tmp_path / "artifact")
    (tmp_path / "artifact" / "saved_model").mkdir()
    (tmp_path / "artifact" / "saved_model" / "saved_model.pb").touch()
    with pytest.raises(ArtifactError, match=r"saved_model\.pb: artifact\.json knows nothing of this file"):
        read_artifact(tmp_path / "artifact")
    for name in ("../key", "/etc/hostname", "a//b", "samples", "a\0b", "..\\key"):
        with pytest.raises(ValueError, match="is no "):
            signing.find_file(tmp_path / "artifact", name)


def test_processes_that_make_the_key_at_once_all_have_the_same(home: Path):
    code = "from railcar.artifact.signing import make_key; print(make_key().secret.hex())"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    keys = {process.communicate()[0] for process in processes}
    assert len(keys) == 1 and len(keys.pop()) == 65
    assert [path.name for path in (home / ".config" / "railcar").iterdir()] == ["key"]


def test_a_key_that_others_could_read_is_closed_to_them_and_that_is_said(home: Path, tmp_path: Path):
    write(tmp_path / "artifact")
    key = signing.key_path()
    key.chmod(0o644)
    found = read_artifact(tmp_path / "artifact")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert found.is_own and "others could read your key; now only you can" in found.note
    assert read_artifact(tmp_path / "artifact").note == ""


def test_a_key_that_others_could_write_and_what_is_no_key_prove_nothing(home: Path, tmp_path: Path):
    write(tmp_path / "artifact")
    key = signing.key_path()
    key.chmod(0o666)
    with pytest.raises(ArtifactError, match="others may write to the key") as caught:
        read_artifact(tmp_path / "artifact")
    assert f"chmod 600 {key}" in caught.value.hint
    key.chmod(0o600)
    key.write_bytes(b"short")
    with pytest.raises(ArtifactError, match="is no key: it has 5 bytes"):
        read_artifact(tmp_path / "artifact")
    key.unlink()
    key.mkdir()
    with pytest.raises(ArtifactError, match=r"(cannot be read|is no file)"):
        read_artifact(tmp_path / "artifact")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs the right to give a file away")
def test_somebody_elses_key_is_not_ones_own(home: Path, tmp_path: Path):
    write(tmp_path / "artifact")
    os.chown(signing.key_path(), 12345, 12345)
    with pytest.raises(ArtifactError, match="belongs to somebody else"):
        read_artifact(tmp_path / "artifact")


def test_in_a_read_only_home_an_artifact_is_written_without_a_signature_and_that_is_said(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    disk = tmp_path / "disk"
    monkeypatch.setenv("HOME", str(disk))
    try:
        with small_disk(disk, 1 << 20):
            remount(disk, "ro")
            found = write(tmp_path / "artifact")
    except Unavailable as error:
        pytest.skip(str(error))
    assert not found.is_own
    assert "is not signed, and needs --trust" in found.note and "Read-only file system" in found.note


def test_without_a_home_the_key_is_wherever_it_is_said_to_be(home, tmp_path, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("RAILCAR_KEY_FILE", str(tmp_path / "key"))
    assert write(tmp_path / "artifact").is_own

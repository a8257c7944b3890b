"""`railcar data pack`: a folder of images as shards, which are trained on like the folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from railcar.cli.main import main
from railcar.data.prepare import open_dataset
from tests.synthetic import write_image_folder


def test_a_folder_and_an_archive_of_it_are_packed_and_read_back_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAILCAR_CACHE", str(tmp_path / "cache"))
    folder = write_image_folder(tmp_path / "photos", n_per_class=6)
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", folder)
    assert main(["data", "pack", str(folder), str(tmp_path / "pack"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sides"], told["n_shards"]) == ({"train": 18}, 1) and told["n_bytes"] > 0
    assert main(["data", "pack", archive, str(tmp_path / "again")]) == 0
    assert "18 train: 1 shard of" in capsys.readouterr().out
    fingerprints = {open_dataset(str(path)).fingerprint for path in (folder, tmp_path / "pack", tmp_path / "again")}
    assert len(fingerprints) == 1


def test_other_data_is_not_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text("size,label\n1.5,a\n2.5,b\n")
    assert main(["data", "pack", str(tmp_path / "rows.csv"), str(tmp_path / "pack")]) == 1
    assert "image folders are packed" in capsys.readouterr().err
    assert not (tmp_path / "pack").exists()

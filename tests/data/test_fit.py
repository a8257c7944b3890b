"""`data.fit`: photos of all proportions are prepared by the model's own resizing, whatever is kept of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from railcar.data.decoding import EncodedImages
from railcar.data.prepare import open_arrays, open_dataset
from railcar.data.sources.shards import pack_folder
from railcar.layers.images import FITS, resize_images
from railcar.storage.images import decode_image
from tests.data.test_decoding import open_both
from tests.places import Place

SIZE = (9, 7)


def make_mixed(make: SimpleNamespace, root: Path) -> Path:
    """Taller, wider, of the size that is asked for and of its proportions; PNG and JPEG, gray and RGB."""
    for number, size in enumerate([(30, 11), (11, 30), SIZE, (18, 14), (1, 25), (10, 10)]):
        for name in ("cat", "dog"):
            for mode, suffix in (("L", "png"), ("RGB", "png"), ("RGB", "jpg")):
                path = root / name / f"{number}-{mode}.{suffix}"
                make.image(path, seed=number + 50 * (name == "dog"), size=size, mode=mode)
    return root


@pytest.mark.parametrize("size", [None, SIZE])
@pytest.mark.parametrize("fit", FITS)
def test_pixels_and_encoded_images_are_those_that_the_model_would_make_of_the_files(
    make: SimpleNamespace, tmp_path: Path, fit: str, size: tuple[int, int] | None
) -> None:
    folder = make_mixed(make, tmp_path / "photos")
    pixels, encoded = open_both(folder, image_size=size, fit=fit)
    assert encoded.features == pixels.features and encoded.fingerprint == pixels.fingerprint
    inputs = encoded.splits["train"].inputs
    assert isinstance(inputs, EncodedImages) and inputs.fit == fit
    np.testing.assert_array_equal(np.asarray(inputs), pixels.splits["train"].inputs)
    names = list(pixels.splits["train"].ids)
    assert len(names) == 36
    for name, image in zip(names, np.asarray(pixels.splits["train"].inputs), strict=True):
        raw = decode_image(folder / name, 3)[None]
        expected = np.asarray(resize_images(raw, pixels.features.image_shape[:2], fit))[0]
        np.testing.assert_array_equal(image, expected, err_msg=name)


def test_what_was_prepared_with_one_fit_is_not_taken_for_another(make: SimpleNamespace, tmp_path: Path) -> None:
    folder = make.class_folders(tmp_path / "photos", n=20, size=(10, 30))
    opened = {fit: open_dataset(str(folder), image_size=(8, 8), fit=fit) for fit in FITS}
    assert len({one.path for one in opened.values()}) == 3
    first = {fit: np.asarray(one.splits["train"].inputs[0]) for fit, one in opened.items()}
    photo = np.asarray(Image.open(folder / opened["crop"].splits["train"].ids[0]))
    np.testing.assert_array_equal(first["crop"], np.asarray(resize_images(photo[None, :, 10:20, None], (8, 8)))[0])
    assert not first["pad"][[0, 1, -2, -1]].any() and first["pad"][3:5].any()
    assert not np.array_equal(first["crop"], first["stretch"])
    again = open_dataset(str(folder), image_size=(8, 8), fit="crop")
    assert again.path == opened["crop"].path
    np.testing.assert_array_equal(again.splits["train"].inputs[0], first["crop"])


@pytest.mark.parametrize("fit", FITS)
def test_arrays_and_sources_of_plain_pixels_are_fitted_too(make: SimpleNamespace, tmp_path: Path, fit: str) -> None:
    images, labels = make.digits(40, size=10)
    settings: Any = {"image_size": (6, 4), "fit": fit, "validation": None, "test": None}
    expected = np.asarray(resize_images(images[..., None], (6, 4), fit))
    arrays = open_arrays(images, labels, **settings)
    np.testing.assert_array_equal(arrays.splits["train"].inputs, expected)
    np.savez(tmp_path / "digits.npz", images=images, labels=labels)
    archive = open_dataset(str(tmp_path / "digits.npz"), **settings)
    np.testing.assert_array_equal(archive.splits["train"].inputs, expected)


@pytest.mark.parametrize("keep", ["encoded", "pixels"])
@pytest.mark.parametrize("fit", FITS)
def test_a_pack_is_fitted_as_the_folder_is_though_it_is_read_while_training(
    s3: Place, make: SimpleNamespace, tmp_path: Path, fit: str, keep: str
) -> None:
    folder = make.class_folders(tmp_path / "photos", n=20, size=(10, 25))
    pack_folder(folder, f"{s3.address}/pack")
    pack_folder(folder, tmp_path / "pack")
    settings: Any = {"image_size": (8, 8), "fit": fit, "validation": 0.2, "keep": keep}
    local = open_dataset(str(folder), **settings)
    images = np.asarray(local.splits["train"].inputs)
    np.testing.assert_array_equal(open_dataset(str(tmp_path / "pack"), **settings).splits["train"].inputs, images)
    streamed = open_dataset(f"{s3.address}/pack", may_stream=True, **settings)
    inputs = streamed.splits["train"].inputs
    assert isinstance(inputs, EncodedImages) and inputs.stream is not None
    np.testing.assert_array_equal(np.asarray(inputs), images)
    # by the images as they are in the index, before they are resized
    np.testing.assert_allclose(streamed.features.mean, local.features.mean, rtol=0.05)

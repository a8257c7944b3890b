"""What is set before the first step."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from railcar.data.types import Split
from railcar.workflows import parts


@pytest.mark.parametrize(("n", "n_telling"), [(30, 6), (30, 7), (30, 100)])
def test_statistics_are_of_all_classes_although_folders_come_one_after_the_other(
    n: int, n_telling: int, monkeypatch: pytest.MonkeyPatch
):
    labels = np.repeat(np.arange(3, dtype=np.int32), n // 3)
    images = np.broadcast_to(labels[:, None, None, None], (n, 4, 4, 1)).astype(np.uint8)
    split = Split("train", images, labels, np.arange(n), "images")
    seen: list[np.ndarray] = []
    monkeypatch.setattr(parts, "_N_TELLING", n_telling)
    monkeypatch.setattr(parts, "adapt_whitening", lambda model, read: seen.append(read()))
    data = SimpleNamespace(splits={"train": split}, features=SimpleNamespace(kind="image"))
    recipe = SimpleNamespace(model=SimpleNamespace(name="airbench"))
    parts.set_start(SimpleNamespace(training_data=data, recipe=recipe, model=SimpleNamespace(layers=[])))  # type: ignore[arg-type]
    [found] = seen
    assert len(found) == min(n, n_telling)
    assert set(found[:, 0, 0, 0]) == {0, 1, 2}

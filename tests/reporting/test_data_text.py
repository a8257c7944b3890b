"""A diagnosis as text: all of it is there, within 80 columns, whatever the names are."""

from __future__ import annotations

import numpy as np
import pytest

from railcar.data.doctor import examine
from railcar.data.findings import Diagnosis, Example, Finding, Suspect
from railcar.data.prepare import open_arrays, open_dataset
from railcar.data.summary import Summary
from railcar.reporting.data_text import count_findings, describe_data, format_diagnosis
from tests.synthetic import make_images


@pytest.mark.parametrize("source", ["penguins", "sms-spam"])
def test_sets_of_rows_fit_into_eighty_columns(source: str) -> None:
    label = {"penguins": "species", "sms-spam": "label"}[source]
    diagnosis = examine(open_dataset(source, label=label, validation=0.1, test=0.1))
    text = format_diagnosis(diagnosis)

    assert max(map(len, text.splitlines())) <= 80
    assert all(one.level in text for one in diagnosis.findings)
    assert "training would take it" in text


def test_names_that_are_long_or_hold_control_characters_are_tamed() -> None:
    names = ("x" * 300, "red\x1b[31m")
    what = f"{'photos/' + 'y' * 200}.jpg: cut\x07 off"
    example = Example("train", 0, "a\x1b[2J.jpg")
    diagnosis = Diagnosis(
        "z" * 200,
        kind="image",
        task="classification",
        class_names=names,
        summary=Summary({"train": 3}, {"train": (1, 2)}, (8, 8, 1)),
        findings=(Finding("error", "refused", what, "mend it"),),
        suspects=(Suspect(example, *names, 0.997),),
    )
    text = format_diagnosis(diagnosis)

    assert max(map(len, text.splitlines())) <= 80
    assert text.replace("\n", "").isprintable()
    assert "training would refuse it" in text and "mend it" in text


def test_counts_of_findings_are_in_words() -> None:
    findings = tuple(Finding(level, "x", "y") for level in ("error", "warning", "warning"))

    assert count_findings(Diagnosis("a", findings=findings)) == "1 error, 2 warnings, no notes"


def test_many_classes_are_told_by_the_smallest_and_the_largest() -> None:
    images, _ = make_images(90)
    labels = np.arange(90) % 9
    labels[:4] = 8
    text = format_diagnosis(examine(open_arrays(images, labels)))

    assert "9 (0) to 14 (8) a class" in text


def test_data_that_was_not_read_has_no_more_than_its_errors() -> None:
    diagnosis = Diagnosis("t.csv", findings=(Finding("error", "refused", "t.csv: line 3: cut", "mend it"),))

    assert describe_data(diagnosis) == "cannot be used as it is"
    assert format_diagnosis(diagnosis).splitlines()[-2:] == ["error    t.csv: line 3: cut", "         > mend it"]

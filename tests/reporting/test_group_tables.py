"""Groups as text: within 80 columns, whatever their names, and who is worse is said."""

from __future__ import annotations

import numpy as np

from railcar.evaluation.groups import group_numbers, group_words, measure_group_errors, measure_groups
from railcar.reporting.group_tables import format_groups


def test_long_names_are_cut_and_the_worse_group_is_marked():
    names = ["a name of a group that is longer than the table is wide, by far", "short"]
    codes = np.repeat([0, 1], [1200, 1800])
    predicted = np.ones(3000, int)
    predicted[:300] = 0
    found = measure_groups(group_words([names[one] for one in codes]), np.ones(3000, int), predicted, 2)
    [text] = format_groups({"checkpoint": "x", "test": {"groups": {"a column with a name " * 9: found}}})
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2].startswith("short") and lines[2].endswith("better")
    assert "…" in lines[3] and lines[3].endswith("1,200  worse")
    assert "largest difference 25.00 points of accuracy, short before" in " ".join(lines[4:])
    assert "more than luck (p 0.0001)" in " ".join(lines[4:])


def test_of_errors_the_smaller_are_better_and_one_group_alone_is_said_to_be_so():
    targets = np.arange(400, dtype=float)
    predicted = targets + np.where(targets < 100, 9, 1)
    found = measure_group_errors(group_numbers(targets), predicted, targets)
    [text] = format_groups({"validation": {"groups": {"size": found}}})
    lines = text.splitlines()
    assert lines[0] == "validation by size, by its quartiles" and max(map(len, lines)) <= 80
    assert [line.endswith("worse") for line in lines[2:6]] == [True, False, False, False]
    assert lines[2].split()[-3:-1] == ["+9", "100"]
    alone = measure_group_errors(group_words(["one"] * 30), predicted[:30], targets[:30])
    assert format_groups({"test": {"groups": {"x": alone}}})[0].endswith("one group only: there is nothing to compare")
    assert format_groups({"checkpoint": "x", "test": {"n": 3}}) == []

"""Models as the wire formats know them: no network behind."""

from __future__ import annotations

from railcar.serving.spec import Feature, Spec

DIGITS = Spec("image", "classification", ("0", "1", "2"), (4, 4, 1), (), {})
PHOTOS = Spec("image", "classification", ("cat", 'the "dog"'), (8, 8, 3), (), {})
SPAM = Spec("text", "classification", ("ham", "spam"), (0, 0, 0), (), {})
COLUMNS = (
    Feature("bill_length_mm", "number"),
    Feature("island", "category", values=("Biscoe", "Dream")),
    Feature("seen", "date"),
    Feature("is_adult", "boolean"),
)
PENGUINS = Spec("table", "classification", ("Adelie", "Chinstrap", "Gentoo"), (0, 0, 0), COLUMNS, {})
PRICES = Spec("table", "regression", (), (0, 0, 0), (Feature("rooms", "number"),), {})

"""All layers of ours, known to Keras once this is imported: then it loads any `model.keras` that railcar wrote."""

from railcar.layers import (  # noqa: F401
    activation,
    answers,
    identity,
    images,
    members,
    ngrams,
    norm,
    pooling,
    tables,
    texts,
    tuned,
    whiten,
    words,
)

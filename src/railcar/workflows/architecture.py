"""What a network is made of, for the terminal and for the run's folder."""

from __future__ import annotations

from typing import Any

from railcar.models.build import describe_model, list_layers
from railcar.training.flops import count_forward_flop


def describe_architecture(model: Any) -> list[dict[str, Any]]:
    """One row a layer, as `reporting/architecture.py` draws them and as the run's manifest has them."""
    rows = describe_model(model)
    for row, layer in zip(rows, list_layers(model), strict=True):
        row["operations"] = count_forward_flop(layer)
        row["has_kernel"] = any(len(one.shape) > 1 for one in layer.variables)
    return rows
